package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newCollectors() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "collectors",
		Short: "List the collectors with their addresses and states",
		Long: `List the collectors as the node knows them: the cluster each takes files for,
the address that uploaders call, the node that runs it, and its state:

  active         takes files
  draining       gets nothing new ('bucket-relay drain')
  not in sight   its node does not answer; what it is owed waits or goes to others
  external       no member of the network runs it; it lives by its heartbeats`,
		Example: `  bucket-relay collectors
  bucket-relay collectors rm json_consumer_1`,
		Args:        args(cobra.NoArgs),
		Annotations: map[string]string{runsItself: "yes"},
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		table, err := c.Clusters(ctx, 0, 0)
		if err != nil || flags.json {
			return orJSON(cmd, err, table)
		}
		printCollectors(cmd, table, nodeNames(ctx, c))
		return nil
	})
	cmd.AddCommand(newCollectorsRemove())
	return cmd
}

// nodeNames maps the ids of nodes to what people call them. It is empty where
// the node cannot tell, as in a static network: then the ids stand for themselves.
func nodeNames(ctx context.Context, c *httpapi.Client) map[string]string {
	names := map[string]string{}
	members, err := c.Members(ctx)
	if err != nil {
		return names
	}
	for _, m := range members.Members {
		names[m.NodeID] = m.Name
	}
	return names
}

func printCollectors(cmd *cobra.Command, table httpapi.Clusters, names map[string]string) {
	out := newTable("COLLECTOR", "CLUSTER", "ADDRESS", "NODE", "STATE")
	none := true
	for _, name := range slices.Sorted(maps.Keys(table.Clusters)) {
		for _, m := range table.Clusters[name].Collectors {
			state := string(m.State)
			if !m.Alive {
				state += ", not in sight"
			}
			if m.External {
				state += ", external"
			}
			out.add(m.ID, name, net.JoinHostPort(m.Address, strconv.Itoa(m.Port)), nameOr(names, m.Node), state)
			none = false
		}
	}
	if none {
		fmt.Fprintln(cmd.OutOrStdout(), "there are no collectors")
		return
	}
	out.print(cmd.OutOrStdout())
}

func nameOr(names map[string]string, id string) string {
	if name := names[id]; name != "" {
		return name
	}
	return id
}

func newCollectorsRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm ID",
		Aliases: []string{"remove"},
		Short:   "Remove a collector that does not come back",
		Long: `Remove a collector that does not come back. In a cluster of mode all, what it
alone is owed is then owed to nobody; in the other modes another collector of
the cluster gets it.

A collector that still runs registers again at once: stop it first, or use
'bucket-relay drain', which gives it nothing new and loses nothing.`,
		Example:           `  bucket-relay collectors rm json_consumer_1`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(collectorIDs)),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		if err := c.DeleteCollector(ctx, "", args[0]); err != nil {
			return err
		}
		return flags.done(cmd, "removed", args[0], fmt.Sprintf("collector %s is removed", args[0]))
	})
	return cmd
}

func newDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain COLLECTOR [--undo]",
		Short: "Give a collector nothing new",
		Long: `Give a collector nothing new. What it is owed already is still delivered; when
'bucket-relay spools' shows nothing queued for it at any node, it can be stopped.

It stays so, also over restarts of its node, until --undo.`,
		Example: `  bucket-relay drain json_consumer_1
  bucket-relay drain json_consumer_1 --undo`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: onlyFirst(completer(collectorIDs)),
	}
	flags := addClientFlags(cmd)
	undo := cmd.Flags().Bool("undo", false, "let it take files again")
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		change, key, sentence := c.Drain, "drained", "collector %s gets nothing new"
		if *undo {
			change, key, sentence = c.Undrain, "active", "collector %s takes files again"
		}
		if err := change(ctx, args[0]); err != nil {
			return err
		}
		return flags.done(cmd, key, args[0], fmt.Sprintf(sentence, args[0]))
	})
	return cmd
}
