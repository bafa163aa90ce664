package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/node"
)

func newCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Find everything wrong with a configuration",
		Long: `Find everything wrong with a configuration at once, each mistake with its place
and what to write instead, and run the configuration's own tests of its rules.
Nothing is created or changed. The exit code is 2 if there is a mistake or a
failed test.

The environment counts as it does for 'start': check with the same variables.`,
		Example: `  bucket-relay check --config relay.yaml`,
		Args:    args(cobra.NoArgs),
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadNamed(*path)
		if err == nil {
			if failed := node.RunTests(c); len(failed) > 0 {
				err = failed
			}
		}
		if asJSON {
			return printCheck(cmd, c, err)
		}
		if err != nil {
			return err
		}
		printWarnings(cmd.ErrOrStderr(), c)
		fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s\n", c.File, summary(c))
		return nil
	}
	return cmd
}

// summary words what a configuration would run.
func summary(c node.Config) string {
	parts := []string{count(len(c.Uploaders), "outbox", "outboxes"), count(len(c.Collectors), "inbox", "inboxes")}
	switch n := len(c.Tests); n {
	case 0:
	case 1:
		parts = append(parts, "its test passed")
	default:
		parts = append(parts, fmt.Sprintf("its %d tests passed", n))
	}
	return strings.Join(parts, ", ")
}

// finding is one mistake or warning as JSON.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

func findings(ps node.Problems) []finding {
	out := make([]finding, len(ps))
	for i, p := range ps {
		out[i] = finding{p.File, p.Line, p.Col, p.Message, p.Remedy}
	}
	return out
}

// printCheck prints the result as JSON. Mistakes are part of it, so they are
// not printed again; the exit code is the same.
func printCheck(cmd *cobra.Command, c node.Config, err error) error {
	problems, ok := errors.AsType[node.Problems](err)
	if err != nil && !ok {
		return err
	}
	shown := printJSON(cmd, map[string]any{
		"ok": err == nil, "problems": findings(problems), "warnings": findings(c.Warnings), "tests": len(c.Tests),
	})
	if shown == nil && err != nil {
		return errMistakesShown
	}
	return shown
}
