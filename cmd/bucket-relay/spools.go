package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newSpools() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spools",
		Short: "Show what waits in each outbox and inbox, and why",
		Long: `Show every outbox and inbox of a node: how many files are queued, in flight and
set aside (dead), and how old the oldest one is. Below an outbox there is a line
for each collector that it owes something, with the reason why it waits.`,
		Example: `  bucket-relay spools
  bucket-relay spools --watch
  bucket-relay spools --json | jq '.spools[] | select(.dead > 0) | .name'`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	watch := cmd.Flags().BoolP("watch", "w", false, "show it again and again, until interrupted")
	every := cmd.Flags().Duration("interval", time.Second, "with --watch: how often")
	noCompletion(cmd, "interval")
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		show := func() error { return showSpools(ctx, c, cmd, flags.json) }
		if !*watch {
			return show()
		}
		if *every < 100*time.Millisecond {
			return usageError{fmt.Errorf("--interval %s is too short: at least 100ms", *every)}
		}
		return repeat(ctx, cmd, *every, show)
	})
	return cmd
}

// repeat calls show at once and then at every interval until the context ends,
// which is the usual end and no error. On a terminal each picture takes the
// place of the one before it.
func repeat(ctx context.Context, cmd *cobra.Command, every time.Duration, show func() error) error {
	w := cmd.OutOrStdout()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	_, live := terminalWidth(w)
	for {
		if live {
			fmt.Fprint(w, "\x1b[H\x1b[2J\x1b[3J") // home, clear the screen and what scrolled away
		}
		err := show()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !live {
			return err
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), explain(err)) // the node may come back
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !live {
			fmt.Fprintln(w)
		}
	}
}

func showSpools(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, asJSON bool) error {
	spools, err := c.Spools(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd, spools)
	}
	printSpools(cmd.OutOrStdout(), spools)
	return nil
}

func printSpools(w io.Writer, spools httpapi.Spools) {
	if len(spools.Spools) == 0 {
		fmt.Fprintln(w, "no outbox and no inbox: the node's configuration has neither uploaders nor collectors")
		return
	}
	t := newTable("SPOOL", toRight+"QUEUED", toRight+"IN FLIGHT", toRight+"DEAD", toRight+"OLDEST", "STATE")
	for _, s := range spools.Spools {
		addSpool(t, s)
	}
	t.print(w)
}

func addSpool(t *table, s httpapi.Spool) {
	state := s.State
	if state == "" {
		state = "ok"
	}
	if s.Inbox != nil {
		state += fmt.Sprintf("; %s of %s at %s, %d published", s.Inbox.Collector, s.Inbox.Cluster, s.Inbox.Address, s.Inbox.Published)
	}
	dead := strconv.Itoa(s.Dead)
	if s.Kind == httpapi.KindInbox {
		dead = ""
	}
	t.add(fmt.Sprintf("%s %s", s.Kind, s.Name), strconv.Itoa(s.Queued), strconv.Itoa(s.InFlight), dead, oldest(s.Queued, s.OldestS), state)
	for _, target := range s.Targets {
		addTarget(t, target)
	}
	for _, w := range s.Waiting {
		t.add("  not offered yet", strconv.Itoa(w.Files), "", "", "", withSample(w))
	}
	for _, w := range s.Rejected {
		t.add("  not taken", strconv.Itoa(w.Files), "", "", "", withSample(w))
	}
	for _, note := range s.Notes {
		t.add("  note", "", "", "", "", note)
	}
}

func addTarget(t *table, target httpapi.Target) {
	state := target.State
	if target.Reason != "" {
		state += ": " + target.Reason
	}
	if target.AtLeastOnce {
		state += " (gives no receipts: at least once)"
	}
	name := "  to " + target.Collector
	if target.Cluster != "" {
		name += " of " + target.Cluster
	}
	t.add(name, strconv.Itoa(target.Queued), strconv.Itoa(target.InFlight), "", oldest(target.Queued, target.OldestS), state)
}

func withSample(w httpapi.Waiting) string {
	if w.Sample == "" {
		return w.Reason
	}
	return fmt.Sprintf("%s, e.g. %s", w.Reason, w.Sample)
}

func oldest(queued int, s float64) string {
	if queued == 0 || s <= 0 {
		return "-"
	}
	return ageText(seconds(s))
}
