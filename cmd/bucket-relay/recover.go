package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/node"
)

const dataDirVar = "BUCKET_RELAY_DATA_DIR"

func newRecover() *cobra.Command {
	var cfg node.RecoverConfig
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "recover --data-dir DIR [--yes]",
		Short: "Go on with one node after a majority is gone for good",
		Long: `Make a node that does not run the only voter of its network, for when a majority
of the voters is gone for good. As long as they may come back, wait for them:
files keep flowing meanwhile, only the table cannot be changed.

  1. Stop what is left of the voters.
  2. Run this on each of them, without --yes: it changes nothing, and says how
     far the node's log reaches. The one with the highest term, then index, knows most.
  3. Run it there with --yes, and start that node. It leads a network of one.
  4. Wipe the data directories of the others before they start again. They join
     anew; 'bucket-relay remove' takes out those that do not come back.

Changes that this node has not heard of are lost. It refuses while the node runs,
and while other voters answer, unless --force. No files are touched.`,
		Example: `  bucket-relay recover --data-dir /var/lib/bucket-relay
  bucket-relay recover --data-dir /var/lib/bucket-relay --yes`,
		Args: args(cobra.NoArgs),
	}
	cmd.Flags().StringVar(&cfg.DataDir, "data-dir", os.Getenv(dataDirVar), "the node's data directory ($"+dataDirVar+")")
	cmd.Flags().BoolVar(&cfg.Force, "force", false, "although other voters answer")
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	completeFlag(cmd, "data-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cfg.DataDir == "" {
			return usageError{errors.New("name the node's data directory with --data-dir")}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt)
		defer stop()
		context.AfterFunc(ctx, stop)
		cfg.DryRun = !yes
		return recoverNode(ctx, cmd, cfg, asJSON)
	}
	return cmd
}

// recoverNode recovers, or only looks, and prints what it found.
func recoverNode(ctx context.Context, cmd *cobra.Command, cfg node.RecoverConfig, asJSON bool) error {
	found, err := node.Recover(ctx, cfg)
	if found.NodeID == "" { // there was nothing to look at
		return err
	}
	if asJSON {
		err = errors.Join(err, printJSON(cmd, found))
	} else {
		printRecovery(cmd.OutOrStdout(), found)
	}
	switch {
	case errors.Is(err, node.ErrOthersAnswer):
		return fmt.Errorf("%w\nIf they are a majority, start this node: nothing is lost. Else stop them first, or add --force", err)
	case err != nil:
		return err
	case !found.Done:
		return usageError{fmt.Errorf("this would make %s the only voter of its network; add --yes to do it", found.Name)}
	}
	return nil
}

func printRecovery(w io.Writer, r node.Recovery) {
	fmt.Fprintf(w, "node %s (%s) of network %s\n", printable(r.Name), printable(r.NodeID), printable(r.NetworkID))
	fmt.Fprintf(w, "last index %d, term %d\n", r.LastIndex, r.LastTerm)
	var names []string
	t := newTable("OTHER", "VOTER", "HTTP", "ANSWERS", "NODE ID")
	for _, s := range r.Servers {
		t.add(s.Name, yesOrDash(s.Voter), s.HTTP, yesOrDash(s.Answers), s.NodeID)
		names = append(names, printable(cmp.Or(s.Name, s.NodeID)))
	}
	if len(names) > 0 {
		t.print(w)
	}
	if !r.Done {
		return
	}
	fmt.Fprintln(w, "it is now the only voter: start it")
	if len(names) > 0 {
		fmt.Fprintf(w, "wipe the data directories of these before they start again: %s\n", strings.Join(names, ", "))
	}
}
