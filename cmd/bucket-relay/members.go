package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newMembers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the nodes of the network",
		Long: `List the nodes of the network, as the node that is asked sees them by gossip.

  STATE   alive; suspect (does not answer at the moment); failed; left
  ROLE    leader, voter (the changes are agreed on by these), nonvoter (a voter
          to be), follower (follows without a vote)

Below the table it says what a node waits for that is not part of a network yet,
or not ready; then which nodes were refused, and why.`,
		Example: `  bucket-relay members
  bucket-relay members --json | jq -r '.members[] | select(.state != "alive") | .name'`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		seen, err := askMembers(ctx, c)
		if err != nil || flags.json {
			return orJSON(cmd, err, seen)
		}
		printMembers(cmd.OutOrStdout(), seen)
		return nil
	})
	return cmd
}

// membersSeen is what GET /v1/members answers, and what the node waits for.
type membersSeen struct {
	httpapi.Members
	NetworkID string `json:"network_id"`       // empty: the node is not in a network yet
	Reason    string `json:"reason,omitempty"` // why that is so, or why it is not ready
}

// askMembers asks who is in the network. A node that is not in one yet has an
// answer too: what it waits for.
func askMembers(ctx context.Context, c *httpapi.Client) (membersSeen, error) {
	members, err := c.Members(ctx)
	if err != nil && !errors.Is(err, httpapi.ErrNotInNetwork) {
		return membersSeen{}, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return membersSeen{}, err
	}
	if members.Members == nil {
		members.Members = []httpapi.Member{}
	}
	return membersSeen{members, status.NetworkID, status.Reason}, nil
}

func printMembers(w io.Writer, seen membersSeen) {
	if len(seen.Members.Members) > 0 {
		out := newTable("NAME", "STATE", "ROLE", "LEADER", "ADDRESS", "HTTP", "NODE ID")
		for _, m := range seen.Members.Members {
			out.add(m.Name, m.State, string(m.Role), yesOrDash(m.Leader), m.Address, m.HTTP, m.NodeID)
		}
		out.print(w)
	}
	for _, m := range seen.Members.Members {
		if m.Reason != "" {
			fmt.Fprintf(w, "%s: %s\n", printable(cmp.Or(m.Name, m.NodeID)), printable(m.Reason))
		}
	}
	switch {
	case seen.NetworkID == "":
		fmt.Fprintf(w, "not in a network yet: %s\n", printable(cmp.Or(seen.Reason, "no reason given")))
	case seen.Reason != "":
		fmt.Fprintf(w, "not ready: %s\n", printable(seen.Reason))
	}
	for _, r := range seen.Refused {
		who := printable(cmp.Or(r.Name, r.NodeID, "a node"))
		if r.Address != "" {
			who += " at " + printable(r.Address)
		}
		fmt.Fprintf(w, "refused: %s, %s ago: %s\n", who, ageText(time.Since(r.At)), printable(r.Reason))
	}
}

func yesOrDash(is bool) string {
	if is {
		return "yes"
	}
	return "-"
}

func newRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a node that will not come back",
		Long: `Remove a node that will not come back from the network, with its collectors, by
its name or id. A node that is alive is told to leave instead, by asking it:
'bucket-relay leave --addr ITS-ADDRESS'.

The network does it by itself for a node that was out of sight for 72 hours, and
refuses when too few voters would be left to agree on anything.`,
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
