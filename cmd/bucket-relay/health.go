package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newHealth() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say how the network is, and what it can still lose",
		Long: `Say how the network is, as its leader judges it: whether each node is alive and
has a vote, how long ago it last answered the leader, and how many changes it is
behind. Then how many more nodes can fail before the network can no longer agree
on changes, and what somebody should look at.

Files keep flowing when it cannot agree: deliveries go on with the last table.
The exit code is 1 when the network is not healthy.`,
		Example: `  bucket-relay health
  bucket-relay health --json | jq .failure_tolerance`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		health, err := c.Health(ctx)
		if err != nil {
			return err
		}
		if flags.json {
			err = printJSON(cmd, health)
		} else {
			printHealth(cmd.OutOrStdout(), health)
		}
		if err == nil && !health.Healthy {
			return errShown
		}
		return err
	})
	return cmd
}

func printHealth(w io.Writer, h httpapi.Health) {
	if len(h.Nodes) > 0 {
		out := newTable("NODE", "ALIVE", "VOTER", toRight+"LAST CONTACT", toRight+"LAG", "NOTE")
		for _, n := range h.Nodes {
			out.add(cmp.Or(n.Name, n.NodeID), aliveText(n), voterText(n), contactText(n), lagText(n), n.Reason)
		}
		out.print(w)
	}
	leader := "no leader"
	if h.Leader != "" {
		leader = "leader " + printable(h.Leader)
	}
	fmt.Fprintf(w, "%s, %s: %s\n", leader, count(h.Voters, "voter", "voters"), toleranceText(h))
	for _, text := range h.Warnings {
		fmt.Fprintf(w, "warning: %s\n", printable(text))
	}
	if !h.Healthy {
		fmt.Fprintln(w, "not healthy")
	}
}

// toleranceText words how many nodes may fail before nothing can be changed.
func toleranceText(h httpapi.Health) string {
	switch {
	case h.Leader == "":
		return "nothing can be changed now"
	case h.FailureTolerance <= 0:
		return "can lose no more nodes"
	}
	return fmt.Sprintf("can lose %s", count(h.FailureTolerance, "more node", "more nodes"))
}

func aliveText(n httpapi.NodeHealth) string {
	if n.Alive {
		return "yes"
	}
	return "no"
}

func voterText(n httpapi.NodeHealth) string {
	switch {
	case n.Leader:
		return "leader"
	case n.Voter:
		return "yes"
	}
	return "-"
}

// contactText words how long ago a node answered the leader, "-" when it never
// did or need not.
func contactText(n httpapi.NodeHealth) string {
	if n.LastContactMS == nil || n.Leader {
		return "-"
	}
	if *n.LastContactMS < 1000 {
		return fmt.Sprintf("%.0fms", *n.LastContactMS)
	}
	return ageText(time.Duration(*n.LastContactMS * float64(time.Millisecond)))
}

func lagText(n httpapi.NodeHealth) string {
	if n.Lag == nil {
		return "-"
	}
	return strconv.FormatUint(*n.Lag, 10)
}
