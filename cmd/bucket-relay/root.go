package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/node"
)

// streams are where a command reads and writes. Stdout carries results only.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// The groups of commands in the help of the root.
const (
	groupNode    = "node"
	groupFiles   = "files"
	groupNetwork = "network"
)

// runsItself marks a command that does something by itself although it holds others.
const runsItself = "runs_itself"

// run executes one command line, prints what is wrong with it, and returns the
// exit code.
func run(ctx context.Context, args []string, std streams) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	return report(std.err, cmd, err)
}

// newRoot builds the whole tree of commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "bucket-relay",
		Short: "Move files from one service to the next, losing none",
		Long: `bucket-relay moves files from one service to the next, and loses none.

A service drops a file into an outbox. An uploader takes it, asks the rules for
its next hop, a cluster, and hands it to the collectors of that cluster. A
collector publishes it in an inbox, where the next service takes it.`,
		Example: `  bucket-relay check --config relay.yaml     what is wrong with a configuration
  bucket-relay start --config relay.yaml     run it
  bucket-relay spools                        what waits where, and why`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that helpOrUnknown sees them
		RunE:          helpOrUnknown,
	}
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Run a node:"},
		&cobra.Group{ID: groupFiles, Title: "Follow the files:"},
		&cobra.Group{ID: groupNetwork, Title: "Follow the network:"},
	)
	root.AddCommand(
		inGroup(groupNode, newStart(), newCheck(), newRoute())...)
	root.AddCommand(
		inGroup(groupFiles, newSpools(), newDead(), newSend())...)
	root.AddCommand(
		inGroup(groupNetwork, newStatus(), newMembers(), newHealth(), newClusters(), newCollectors(),
			newCluster(), newDrain(), newLeader(), newLeave(), newRemove(), newSnapshot(), newRecover())...)
	root.AddCommand(newVersion())
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetUsageTemplate(strings.NewReplacer(
		"{{if .Runnable}}\n  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}",
		"\n  {{if .HasAvailableSubCommands}}{{if .Annotations."+runsItself+"}}{{.UseLine}}\n  {{end}}"+
			"{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}",
		"[command] --help", "COMMAND --help").Replace(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return root
}

func inGroup(id string, cmds ...*cobra.Command) []*cobra.Command {
	for _, c := range cmds {
		c.GroupID = id
	}
	return cmds
}

// helpOrUnknown is what a command does that only holds others: without
// arguments it shows its help, any other argument is a command it does not have.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	cmd.SuggestionsMinimumDistance = 2 // letters to change; cobra's own default is none
	err := fmt.Errorf("unknown command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
	}
	return usageError{err}
}

// usageError is a command line that makes no sense. It exits with 2.
type usageError struct{ err error }

// Error says what is wrong with the command line.
func (e usageError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.err }

// errShown is returned by a command that has already said what went wrong.
var errShown = errors.New("already shown")

// errMistakesShown is errShown for mistakes in a configuration. It exits with 2.
var errMistakesShown = usageError{errShown}

// args makes a check of the arguments whose failure is a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// report prints an error for a person and returns the exit code it stands for.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	_, usage := errors.AsType[usageError](err)
	if errors.Is(err, errShown) {
		return exitCode(usage)
	}
	if problems, ok := errors.AsType[node.Problems](err); ok {
		fmt.Fprintln(w, problems)
		fmt.Fprintf(w, "%s: %s; nothing was done\n", cmd.CommandPath(), count(len(problems), "mistake", "mistakes"))
		return 2
	}
	fmt.Fprintf(w, "%s: %s\n", cmd.CommandPath(), explain(err))
	if usage {
		fmt.Fprintf(w, "Run '%s --help' for what it takes.\n", cmd.CommandPath())
	}
	return exitCode(usage)
}

func exitCode(usage bool) int {
	if usage {
		return 2
	}
	return 1
}

// explain words an error. A refusal of a node is given in the node's words,
// with the stable code in brackets for those who look it up.
func explain(err error) string {
	_, sending := errors.AsType[*httpapi.SendError](err) // says it all by itself
	if p, ok := errors.AsType[*httpapi.Problem](err); ok && !sending {
		text := p.Detail
		if text == "" {
			text = p.Title
		}
		return fmt.Sprintf("%s (%s)", text, p.Code)
	}
	if errors.Is(err, httpapi.ErrNoNode) {
		return err.Error() + "\nIs it running? --addr or BUCKET_RELAY_ADDR names another node."
	}
	return err.Error()
}

// count words a number of things: "1 file", "12 files".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
