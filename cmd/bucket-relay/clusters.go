package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newClusters() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clusters",
		Short: "List the clusters and how each shares its files",
		Long: `List the clusters as the node knows them. The mode says how the collectors of a
cluster share its files: all (each gets every file), one (each file goes to one
of them), key (files with the same key go to the same one).`,
		Example: `  bucket-relay clusters
  bucket-relay clusters --json | jq '.clusters | keys'`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		table, err := c.Clusters(ctx, 0, 0)
		if err != nil || flags.json {
			return orJSON(cmd, err, table)
		}
		if len(table.Clusters) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "there are no clusters")
			return nil
		}
		out := newTable("CLUSTER", "MODE", "KEY", "COLLECTORS")
		for _, name := range slices.Sorted(maps.Keys(table.Clusters)) {
			cluster := table.Clusters[name]
			var ids []string
			for _, m := range cluster.Collectors {
				ids = append(ids, m.ID)
			}
			out.add(name, string(cluster.Mode), cluster.Key, strings.Join(ids, ", "))
		}
		out.print(cmd.OutOrStdout())
		return nil
	})
	return cmd
}

func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make, change or remove a cluster",
		Long: `Make, change or remove a cluster, the target of routing. A cluster also comes
into being by itself, with mode all, when the first collector registers for it.`,
		RunE: helpOrUnknown,
	}
	cmd.AddCommand(newClusterSet(), newClusterRemove())
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
  key   files with the same key go to the same collector; --key finds it in the name

What is not given stays as it is. Any node takes the change, and every node
follows it; files that are on their way already keep the collector they have.`,
		Example: `  bucket-relay cluster set images --mode one --failover-after 1m
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
		if cmd.Flags().Changed("failover-after") {
			if failover < time.Millisecond {
				return usageError{fmt.Errorf("--failover-after %s is too short: at least 1ms", failover)}
			}
			spec.FailoverAfter = failover.String()
		}
		if spec == (httpapi.ClusterSpec{}) {
			return usageError{errors.New("nothing to set: give --mode, --key or --failover-after")}
		}
		if err := c.SetCluster(ctx, args[0], spec); err != nil {
			return err
		}
		return flags.done(cmd, "cluster", args[0], fmt.Sprintf("cluster %s is set", args[0]))
	})
	return cmd
}

func setMode[M ~string](to *M, text string) { *to = M(text) }

func newClusterRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Remove a cluster without collectors",
		Long: `Remove a cluster. It must have no collectors any more: 'bucket-relay collectors'
lists them, 'bucket-relay collectors rm' removes one that does not come back.
Files that rules still send to it wait in their outboxes, with that as the reason.`,
		Example:           `  bucket-relay cluster rm images`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(clusterNames)),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		if err := c.DeleteCluster(ctx, args[0]); err != nil {
			return err
		}
		return flags.done(cmd, "removed", args[0], fmt.Sprintf("cluster %s is removed", args[0]))
	})
	return cmd
}
