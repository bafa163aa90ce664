package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/node"
)

func newRoute() *cobra.Command {
	var facts node.FileFacts
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "route --config FILE NAME…",
		Short: "Say which rule sends a file where, and why",
		Long: `Say what would become of files with these names: which rule decides, which
cluster they go to, and who of it gets them. The files need not exist; nobody is
asked. The exit code is 1 if a file would stay where it is.`,
		Example: `  bucket-relay route --config relay.yaml order-17.json access.log
  bucket-relay route --config relay.yaml --size 5000000 --outbox gateway video.mp4`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	path := configFlag(cmd)
	cmd.Flags().StringVar(&facts.Outbox, "outbox", "", "the outbox, by name or path (default: each of them)")
	cmd.Flags().Int64Var(&facts.Size, "size", 0, "the size of the files in bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	noCompletion(cmd, "size")
	completeFlag(cmd, "outbox", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, err := loadNamed(*path)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return outboxes(c), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		c, err := loadNamed(*path)
		if err != nil {
			return err
		}
		return showRoutes(cmd, c, facts, names, asJSON)
	}
	return cmd
}

func outboxes(c node.Config) []string {
	var names []string
	for _, u := range c.Uploaders {
		names = append(names, u.Name)
	}
	return names
}

func showRoutes(cmd *cobra.Command, c node.Config, facts node.FileFacts, names []string, asJSON bool) error {
	if len(c.Uploaders) == 0 {
		return fmt.Errorf("%s has no uploaders, so there is nothing to route", c.File)
	}
	routes, stays := []node.Route{}, false
	for _, name := range names {
		facts.Name = name
		found := node.Explain(c, facts)
		if len(found) == 0 {
			return usageError{fmt.Errorf("--outbox %q: the configuration has %q", facts.Outbox, outboxes(c))}
		}
		routes = append(routes, found...)
	}
	for _, r := range routes {
		stays = stays || r.Reason != ""
		if !asJSON {
			fmt.Fprintln(cmd.OutOrStdout(), r)
		}
	}
	if asJSON {
		if err := printJSON(cmd, routes); err != nil {
			return err
		}
	}
	if stays {
		return errShown
	}
	return nil
}
