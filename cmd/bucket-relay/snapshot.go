package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/node"
)

// standardStream is the file name that stands for standard input or output.
const standardStream = "-"

func newSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save, restore or look at the state of the network",
		Long: `Save, restore or look at the state that the network agrees on: its id, the
clusters, the collectors and the nodes. Files under way are not part of it; they
lie in the outboxes and inboxes.`,
		RunE: helpOrUnknown,
	}
	cmd.AddCommand(newSnapshotSave(), newSnapshotRestore(), newSnapshotInspect())
	return cmd
}

func newSnapshotSave() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE|-",
		Short: "Save the state of the network to a file",
		Long: `Save the state of the network, as it is now, to a file, or to standard output with
a dash. Any node can be asked. Every change that was acknowledged before is in it.

The snapshot is checked before anything is written. FILE is then either what it
was or the whole snapshot on stable storage, never a part of one.`,
		Example: `  bucket-relay snapshot save /backup/network.snap
  bucket-relay snapshot save - | gzip > network.snap.gz`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		var snap bytes.Buffer
		if err := c.SaveSnapshot(ctx, &snap); err != nil {
			return err
		}
		info, err := node.InspectSnapshot(bytes.NewReader(snap.Bytes()))
		if err != nil {
			return fmt.Errorf("the answer of %s is no whole snapshot, nothing was written: %w", c.Addr(), err)
		}
		if args[0] == standardStream {
			_, err := snap.WriteTo(cmd.OutOrStdout())
			return err
		}
		size := int64(snap.Len())
		err = node.SaveFile(args[0], func(w io.Writer) error {
			_, err := snap.WriteTo(w)
			return err
		})
		if err != nil {
			return fmt.Errorf("save snapshot: %w", err)
		}
		return flags.done(cmd, "saved", args[0], fmt.Sprintf("%s saved, %s: %s", args[0], bytesText(size), contents(info)))
	})
	return cmd
}

func newSnapshotRestore() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE|-",
		Short: "Replace the state of the network by that of a file",
		Long: `Replace the state of the network by that of a snapshot: clusters, collectors and
nodes are then what they were when it was saved. Collectors that are registered
now stay, as they are: what files are owed to one is not forgiven by a restore.
'collectors rm' takes out those that are not to come back.

The file is checked before anything is asked. A snapshot of another network is
refused, unless --force: then this network goes on with the other one's state.`,
		Example: `  bucket-relay snapshot inspect /backup/network.snap
  bucket-relay snapshot restore /backup/network.snap`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	flags := addClientFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also a snapshot of another network")
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, args []string) error {
		snap, info, err := readSnapshot(cmd, args[0])
		if err != nil {
			return err
		}
		if err := c.RestoreSnapshot(ctx, bytes.NewReader(snap), force); err != nil {
			return err
		}
		return flags.done(cmd, "restored", args[0], fmt.Sprintf("%s restored: %s", args[0], contents(info)))
	})
	return cmd
}

func newSnapshotInspect() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect FILE|-",
		Short: "Say what a snapshot holds, without a network",
		Long: `Say what a snapshot holds: of which network it is, up to which change, and its
clusters, collectors and nodes. It is read to its end and its checksum is checked;
no node is asked.`,
		Example: `  bucket-relay snapshot inspect network.snap
  gunzip -c network.snap.gz | bucket-relay snapshot inspect - --json`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, info, err := readSnapshot(cmd, args[0])
		if err != nil || asJSON {
			return orJSON(cmd, err, info)
		}
		printSnapshot(cmd.OutOrStdout(), info)
		return nil
	}
	return cmd
}

// readSnapshot reads a snapshot whole and checks it.
func readSnapshot(cmd *cobra.Command, name string) (snap []byte, info node.SnapshotInfo, err error) {
	if name == standardStream {
		snap, err = io.ReadAll(cmd.InOrStdin())
	} else {
		snap, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, info, err
	}
	info, err = node.InspectSnapshot(bytes.NewReader(snap))
	if err != nil {
		return nil, info, fmt.Errorf("%s: %w", name, err)
	}
	return snap, info, nil
}

// contents words what a snapshot holds in one line.
func contents(s node.SnapshotInfo) string {
	collectors := 0
	for _, c := range s.Clusters {
		collectors += len(c.Collectors)
	}
	return fmt.Sprintf("network %s at index %d, %s, %s, %s", printable(s.NetworkID), s.Index,
		count(len(s.Clusters), "cluster", "clusters"), count(collectors, "collector", "collectors"),
		count(len(s.Nodes), "node", "nodes"))
}

func printSnapshot(w io.Writer, s node.SnapshotInfo) {
	fmt.Fprintln(w, contents(s))
	names := map[string]string{}
	nodes := newTable("NODE", "HTTP", "NODE ID")
	for _, n := range s.Nodes {
		names[n.NodeID] = n.Name
		nodes.add(n.Name, n.HTTP, n.NodeID)
	}
	clusters := newTable("CLUSTER", "MODE", "KEY", "FAILOVER")
	collectors := newTable("COLLECTOR", "CLUSTER", "ADDRESS", "NODE", "STATE")
	for _, c := range s.Clusters {
		clusters.add(c.Name, c.Mode, c.Key, c.FailoverAfter)
		for _, m := range c.Collectors {
			state := m.State
			if m.External {
				state += ", external"
			}
			collectors.add(m.ID, c.Name, m.Address, nameOr(names, m.Node), state)
		}
	}
	for _, t := range []*table{nodes, clusters, collectors} {
		if len(t.rows) > 1 {
			fmt.Fprintln(w)
			t.print(w)
		}
	}
}
