package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
		Example: `  bucket-relay clusters`,
		Args:    args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		table, err := c.Clusters(ctx, 0, 0)
		if err != nil || flags.json {
			return orJSON(cmd, err, table)
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

func newCollectors() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "collectors",
		Short:   "List the collectors with their addresses and states",
		Example: `  bucket-relay collectors`,
		Args:    args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		table, err := c.Clusters(ctx, 0, 0)
		if err != nil || flags.json {
			return orJSON(cmd, err, table)
		}
		out := newTable("COLLECTOR", "CLUSTER", "ADDRESS", "NODE", "STATE")
		for _, name := range slices.Sorted(maps.Keys(table.Clusters)) {
			for _, m := range table.Clusters[name].Collectors {
				state := string(m.State)
				if !m.Alive {
					state += ", not in sight"
				}
				out.add(m.ID, name, m.Address+":"+strconv.Itoa(m.Port), m.Node, state)
			}
		}
		out.print(cmd.OutOrStdout())
		return nil
	})
	return cmd
}

func newMembers() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "members",
		Short:   "List the nodes of the network",
		Example: `  bucket-relay members`,
		Args:    args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		members, err := c.Members(ctx)
		if err != nil || flags.json {
			return orJSON(cmd, err, members)
		}
		out := newTable("NAME", "STATE", "ROLE", "ADDRESS", "HTTP", "NODE ID")
		for _, m := range members.Members {
			role := string(m.Role)
			if m.Leader {
				role = string(httpapi.RoleLeader)
			}
			out.add(m.Name, m.State, role, m.Address, m.HTTP, m.NodeID)
		}
		out.print(cmd.OutOrStdout())
		return nil
	})
	return cmd
}

func newHealth() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "health",
		Short:   "Say how the network judges itself",
		Example: `  bucket-relay health`,
		Args:    args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		health, err := c.Health(ctx)
		return orJSON(cmd, err, health)
	})
	return cmd
}

// orJSON returns the error, if there is one, and prints the document otherwise.
func orJSON(cmd *cobra.Command, err error, document any) error {
	if err != nil {
		return err
	}
	return printJSON(cmd, document)
}

// done prints what was done: a sentence, or with --json an object that names
// the thing.
func (f *clientFlags) done(cmd *cobra.Command, key, name, sentence string) error {
	if f.json {
		return printJSON(cmd, map[string]string{key: name})
	}
	fmt.Fprintln(cmd.OutOrStdout(), sentence)
	return nil
}
