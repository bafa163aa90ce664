package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say who a node is and whether it is ready",
		Long: `Say who a node is, what it is to its network, and whether it is ready. A node
that is not ready says why. The exit code is 1 if it is not.`,
		Example: `  bucket-relay status
  bucket-relay status --addr http://10.0.0.5:10088 --json`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if flags.json {
			err = printJSON(cmd, status)
		} else {
			printStatus(cmd.OutOrStdout(), status)
		}
		if err == nil && !status.Ready {
			return errShown
		}
		return err
	})
	return cmd
}

func printStatus(w io.Writer, s httpapi.Status) {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.Reason
	}
	lines := [][2]string{
		{"name", s.Name},
		{"ready", ready},
		{"role", string(s.Role)},
		{"leader", s.Leader},
		{"node id", s.NodeID},
		{"network", s.NetworkID},
		{"index", fmt.Sprint(s.Index)},
		{"version", s.Version},
		{"up for", ageText(seconds(s.UptimeS))},
	}
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(w, "%-8s %s\n", l[0], printable(l[1]))
		}
	}
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "warning  %s\n", printable(text))
	}
}
