package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Change a cluster",
		RunE:  helpOrUnknown,
	}
	cmd.AddCommand(newClusterSet())
	return cmd
}

func newClusterSet() *cobra.Command {
	var spec httpapi.ClusterSpec
	var mode string
	var failover time.Duration
	cmd := &cobra.Command{
		Use:   "set NAME --mode all|one|key",
		Short: "Make a cluster, or say how its collectors share the files",
		Long: `Make a cluster, or change how its collectors share the files:

  all   each collector gets every file
  one   each file goes to one collector, the least busy first
  key   files with the same key go to the same collector; --key finds it in the name`,
		Example: `  bucket-relay cluster set images --mode one
  bucket-relay cluster set orders --mode key --key '^customer-(\d+)'`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(clusterNames)),
	}
	flags := addClientFlags(cmd)
	cmd.Flags().StringVar(&mode, "mode", "", "all, one or key")
	cmd.Flags().StringVar(&spec.Key, "key", "", "with --mode key: a regexp on the name; its first group is the key")
	cmd.Flags().DurationVar(&failover, "failover-after", 0,
		"modes one and key: when another collector gets a file whose outcome is unknown (default 30s)")
	completeFlag(cmd, "mode", words("all", "one", "key"))
	noCompletion(cmd, "key", "failover-after")
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		switch mode {
		case "all", "one", "key", "":
			// The type is the table's own, which this room does not import.
			setMode(&spec.Mode, mode)
		default:
			return usageError{fmt.Errorf("--mode %q: want all, one or key", mode)}
		}
		if failover > 0 {
			spec.FailoverAfter = failover.String()
		}
		if spec == (httpapi.ClusterSpec{}) {
			return usageError{fmt.Errorf("nothing to set: give --mode, --key or --failover-after")}
		}
		if err := c.SetCluster(ctx, args[0], spec); err != nil {
			return err
		}
		return flags.done(cmd, "cluster", args[0], fmt.Sprintf("cluster %s is set", args[0]))
	})
	return cmd
}

func setMode[M ~string](to *M, text string) { *to = M(text) }

func newDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain COLLECTOR",
		Short: "Give a collector nothing new",
		Long: `Give a collector nothing new. What it is owed already is still delivered; when
'bucket-relay spools' shows nothing queued for it, it can be stopped.`,
		Example:           `  bucket-relay drain json_consumer_1`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(collectorIDs)),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		if err := c.Drain(ctx, args[0]); err != nil {
			return err
		}
		return flags.done(cmd, "drained", args[0], fmt.Sprintf("collector %s gets nothing new", args[0]))
	})
	return cmd
}

func newLeave() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Make the node leave its network for good",
		Long: `Make the node leave its network now and for good. To stop it for a while, stop
its process instead: it then stays a member.`,
		Example: `  bucket-relay leave`,
		Args:    args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		if err := c.Leave(ctx); err != nil {
			return err
		}
		return flags.done(cmd, "left", c.Addr(), "the node at "+c.Addr()+" leaves its network")
	})
	return cmd
}

func newRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "remove NODE",
		Short:             "Remove a node that will not come back",
		Long:              `Remove a node that will not come back from the network, by its name or id.`,
		Example:           `  bucket-relay remove n3`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(memberNames)),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		if err := c.RemoveMember(ctx, args[0]); err != nil {
			return err
		}
		return flags.done(cmd, "removed", args[0], fmt.Sprintf("node %s is removed", args[0]))
	})
	return cmd
}

func memberNames(ctx context.Context, c *httpapi.Client) ([]string, error) {
	members, err := c.Members(ctx)
	var found []string
	for _, m := range members.Members {
		found = append(found, cobra.CompletionWithDesc(m.Name, m.State))
	}
	return found, err
}
