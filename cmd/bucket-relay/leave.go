package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// stopWait bounds how long leave waits for the end of a node that has left.
const stopWait = time.Minute

func newLeave() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Make the node leave its network for good",
		Long: `Make the node that is asked leave its network now and for good, and wait until it
has left and stopped. To stop it for a while, stop its process instead: it then
stays a member.

Its collectors are removed with it: what files they alone are owed (mode all) are
then owed to nobody. To lose none of them, 'bucket-relay drain' each of them
first and wait until no outbox has anything queued for it.

Nothing is removed from its outboxes and inboxes. Files that still lie in an
outbox stay there, and are sent on when a node is started with that outbox
again. So the command refuses as long as outboxes hold files, unless --force.

When it is started again, it is a new node with a new id.`,
		Example: `  bucket-relay leave --addr http://10.0.0.7:10088
  bucket-relay leave --force`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "leave although outboxes hold files, which stay there")
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if status.Role == httpapi.RoleStatic {
			return c.Leave(ctx) // refuses, and says why better than any outbox
		}
		if !force {
			if err := refuseFull(ctx, c); err != nil {
				return err
			}
		}
		if err := c.Leave(ctx); err != nil {
			return err
		}
		if err := awaitEnd(ctx, c, status.NodeID); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "it has left, but its process has not ended yet")
		}
		return flags.done(cmd, "left", status.Name, "node "+status.Name+" has left its network")
	})
	return cmd
}

// refuseFull returns an error that names the outboxes that hold files.
func refuseFull(ctx context.Context, c *httpapi.Client) error {
	all, err := c.Spools(ctx)
	if err != nil {
		return err
	}
	var full []error
	for _, s := range all.Spools {
		if n := s.Queued + s.InFlight; s.Kind == httpapi.KindOutbox && n > 0 {
			full = append(full, fmt.Errorf("outbox %s (%s) holds %s",
				printable(s.Name), printable(s.Path), count(n, "undelivered file", "undelivered files")))
		}
	}
	if len(full) == 0 {
		return nil
	}
	full = append(full, errors.New("nothing was done. Wait until they are empty ('bucket-relay spools --watch'), or leave with --force:\n"+
		"the files stay where they are until a node is started with these outboxes again"))
	return errors.Join(full...)
}

// awaitEnd waits until the node has stopped: nobody answers, or another one,
// which a supervisor started in its place.
func awaitEnd(ctx context.Context, c *httpapi.Client, nodeID string) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	return until(ctx, 100*time.Millisecond, func() (bool, error) {
		status, err := c.Status(ctx)
		if errors.Is(err, httpapi.ErrNoNode) {
			return true, nil
		}
		return err == nil && status.NodeID != nodeID, nil
	})
}
