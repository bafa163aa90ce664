package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// transferWait bounds how long a command waits to see the new leader.
const transferWait = 10 * time.Second

func newLeader() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leader",
		Short: "Move the leadership to another node",
		Long: `Move the leadership of the network to another node. The leader puts the changes
of the table in order; nothing else depends on which node it is.`,
		RunE: helpOrUnknown,
	}
	cmd.AddCommand(newLeaderTransfer())
	return cmd
}

func newLeaderTransfer() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "transfer [--to NODE]",
		Short: "Move the leadership, and say who has it then",
		Long: `Move the leadership to another voter: the one that --to names, by name or id, else
the one that is furthest along. Changes wait for a moment meanwhile; files do not.

A leader that is stopped hands over by itself. This is for moving it away from a
machine that is to do something else.`,
		Example: `  bucket-relay leader transfer
  bucket-relay leader transfer --to n2`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the node that shall lead, by name or id (default: any other voter)")
	completeFlag(cmd, "to", completer(memberNames))
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		before, err := leaderOf(ctx, c)
		if err != nil {
			return err
		}
		if err := c.TransferLeadership(ctx, to); err != nil {
			return err
		}
		now, err := awaitLeader(ctx, c, func(m httpapi.Member) bool {
			if to != "" {
				return strings.EqualFold(m.Name, to) || m.NodeID == to
			}
			return m.NodeID != before.NodeID
		})
		if err != nil {
			return err
		}
		name := cmp.Or(now.Name, now.NodeID)
		return flags.done(cmd, "leader", name, fmt.Sprintf("node %s leads", name))
	})
	return cmd
}

// leaderOf returns the member that leads, as the node knows; the zero Member
// when it knows of none.
func leaderOf(ctx context.Context, c *httpapi.Client) (httpapi.Member, error) {
	members, err := c.Members(ctx)
	for _, m := range members.Members {
		if m.Leader {
			return m, err
		}
	}
	return httpapi.Member{}, err
}

// awaitLeader asks the node until it sees a leader that is wanted. The node may
// hear of it a little later than the one that was asked for the transfer.
func awaitLeader(ctx context.Context, c *httpapi.Client, wanted func(httpapi.Member) bool) (httpapi.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, transferWait)
	defer cancel()
	var seen httpapi.Member
	err := until(ctx, 100*time.Millisecond, func() (bool, error) {
		now, err := leaderOf(ctx, c)
		if err != nil {
			return false, err
		}
		seen = now
		return now.NodeID != "" && wanted(now), nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		who := cmp.Or(seen.Name, seen.NodeID, "nobody")
		return seen, fmt.Errorf("the leadership was handed over, but %s sees %s leading", c.Addr(), who)
	}
	return seen, err
}

// until calls look at once and then at every interval until it is done, it fails,
// or the context ends, whose error it then returns.
func until(ctx context.Context, every time.Duration, look func() (done bool, err error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		done, err := look()
		if ctx.Err() != nil && !done {
			return ctx.Err()
		}
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
