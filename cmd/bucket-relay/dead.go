package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func newDead() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, retry or remove files that were set aside",
		Long: `A file that can never be delivered as it is, because a collector refused it for
good, is set aside: it lies in .relay/dead/ of its outbox with the reason in a
.json file beside it. Nothing removes it but you.`,
		RunE: helpOrUnknown,
	}
	cmd.AddCommand(newDeadList(), newDeadRetry(), newDeadRemove())
	return cmd
}

func newDeadList() *cobra.Command {
	var only deadFilter
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the files that were set aside, and why",
		Example: `  bucket-relay dead ls
  bucket-relay dead ls --cluster images --name '*.png'`,
		Args: args(cobra.NoArgs),
	}
	flags := addClientFlags(cmd)
	only.addFlags(cmd)
	cmd.RunE = clientRun(flags, func(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, _ []string) error {
		list, err := only.list(ctx, c)
		if err != nil {
			return err
		}
		if flags.json {
			return printJSON(cmd, list)
		}
		printDead(cmd, list)
		return nil
	})
	return cmd
}

func printDead(cmd *cobra.Command, list httpapi.DeadList) {
	if len(list.Dead) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "no files were set aside")
		return
	}
	t := newTable("ID", "NAME", toRight+"SIZE", toRight+"AGE", "OUTBOX", "WHY")
	for _, d := range list.Dead {
		why := d.Reason
		if d.Collector != "" {
			why = d.Collector + ": " + why
		}
		t.add(d.ID, d.Name, bytesText(d.Size), ageText(time.Since(d.At)), d.Spool, why)
	}
	t.print(cmd.OutOrStdout())
	if list.More {
		fmt.Fprintln(cmd.ErrOrStderr(), "there are more; this is the first part of the list")
	}
}

func newDeadRetry() *cobra.Command {
	b := bulk{verb: "retry", past: "retried", key: "retried", act: (*httpapi.Client).RetryDead}
	cmd := &cobra.Command{
		Use:   "retry ID… | --all",
		Short: "Put files back on their way",
		Long: `Put files that were set aside back on their way: they are routed again, and
only collectors that do not have them yet get them. Give ids as 'dead ls' shows
them, or --all, which the filters narrow down.`,
		Example: `  bucket-relay dead retry 6f1c….1
  bucket-relay dead retry --all --collector json_consumer_1`,
		ValidArgsFunction: completer(deadIDs),
	}
	return b.command(cmd)
}

func newDeadRemove() *cobra.Command {
	b := bulk{verb: "remove", past: "removed for good", key: "removed", act: (*httpapi.Client).RemoveDead, needsYes: true}
	cmd := &cobra.Command{
		Use:     "rm ID… --yes | --all --yes",
		Aliases: []string{"remove"},
		Short:   "Remove files for good",
		Long: `Remove files that were set aside, for good: there is no other copy. Give ids as
'dead ls' shows them, or --all, which the filters narrow down. Without --yes it
only says what it would remove.`,
		Example: `  bucket-relay dead rm 6f1c….1 --yes
  bucket-relay dead rm --all --code too-large --yes`,
		ValidArgsFunction: completer(deadIDs),
	}
	return b.command(cmd)
}

// deadIDs completes the ids of files that were set aside.
func deadIDs(ctx context.Context, c *httpapi.Client) ([]string, error) {
	list, err := c.Dead(ctx)
	var found []string
	for _, d := range list.Dead {
		found = append(found, cobra.CompletionWithDesc(d.ID, printable(d.Name)+": "+d.Code))
	}
	return found, err
}

// deadFilter picks among the files that were set aside. Empty fields pick all.
type deadFilter struct {
	outbox, cluster, collector, code, name string
}

func (f *deadFilter) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.outbox, "outbox", "", "only of this outbox")
	cmd.Flags().StringVar(&f.cluster, "cluster", "", "only for this cluster")
	cmd.Flags().StringVar(&f.collector, "collector", "", "only refused by this collector")
	cmd.Flags().StringVar(&f.code, "code", "", "only with this code, e.g. too-large")
	cmd.Flags().StringVar(&f.name, "name", "", "only names like this, e.g. '*.json'")
	completeFlag(cmd, "cluster", completer(clusterNames))
	completeFlag(cmd, "collector", completer(collectorIDs))
	noCompletion(cmd, "outbox", "code", "name")
}

// list asks the node for its dead files and returns those that pass. A name
// pattern that cannot be read is a usage error.
func (f *deadFilter) list(ctx context.Context, c *httpapi.Client) (httpapi.DeadList, error) {
	if _, err := path.Match(f.name, ""); err != nil {
		return httpapi.DeadList{}, usageError{fmt.Errorf("--name %q: %w", f.name, err)}
	}
	all, err := c.Dead(ctx)
	picked := httpapi.DeadList{More: all.More, Dead: []httpapi.DeadFile{}}
	for _, d := range all.Dead {
		if f.picks(d) {
			picked.Dead = append(picked.Dead, d)
		}
	}
	return picked, err
}

func (f *deadFilter) picks(d httpapi.DeadFile) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	like, _ := path.Match(f.name, d.Name) // list has checked the pattern
	return is(f.outbox, d.Spool) && is(f.cluster, d.Cluster) && is(f.collector, d.Collector) &&
		is(f.code, d.Code) && (f.name == "" || like)
}

// bulk is a command that does one thing to some files that were set aside.
type bulk struct {
	verb, past string
	key        string // of the ids in the JSON answer
	act        func(*httpapi.Client, context.Context, string) error
	needsYes   bool

	flags    *clientFlags
	only     deadFilter
	all, yes bool
}

func (b *bulk) command(cmd *cobra.Command) *cobra.Command {
	b.flags = addClientFlags(cmd)
	b.only.addFlags(cmd)
	cmd.Flags().BoolVar(&b.all, "all", false, "all that the filters pick")
	if b.needsYes {
		cmd.Flags().BoolVar(&b.yes, "yes", false, "really do it")
	}
	cmd.RunE = clientRun(b.flags, b.run)
	return cmd
}

func (b *bulk) run(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, ids []string) error {
	if err := b.check(ids); err != nil {
		return err
	}
	more := false
	if b.all {
		list, err := b.only.list(ctx, c)
		if err != nil {
			return err
		}
		more = list.More
		for _, d := range list.Dead {
			ids = append(ids, d.ID)
		}
	}
	if b.needsYes && !b.yes {
		return usageError{fmt.Errorf("this would %s %s for good; add --yes to do it", b.verb, count(len(ids), "file", "files"))}
	}
	return b.each(ctx, c, cmd, ids, more)
}

func (b *bulk) check(ids []string) error {
	switch {
	case b.all && len(ids) > 0:
		return usageError{errors.New("give ids or --all, not both")}
	case !b.all && b.only != deadFilter{}:
		return usageError{errors.New("filters go with --all")}
	case !b.all && len(ids) == 0:
		return usageError{errors.New("give the ids of files, as 'bucket-relay dead ls' shows them, or --all")}
	}
	return nil
}

// each does it to one file after the other and goes on after a failure.
func (b *bulk) each(ctx context.Context, c *httpapi.Client, cmd *cobra.Command, ids []string, more bool) error {
	done, failed := []string{}, map[string]string{}
	for _, id := range ids {
		if err := b.act(c, ctx, id); err != nil {
			if ctx.Err() != nil || errors.Is(err, httpapi.ErrNoNode) {
				return err
			}
			failed[id] = explain(err)
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", id, explain(err))
			continue
		}
		done = append(done, id)
	}
	if b.flags.json {
		if err := printJSON(cmd, map[string]any{b.key: done, "failed": failed, "more": more}); err != nil {
			return err
		}
	} else if len(done) > 0 || len(failed) == 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", count(len(done), "file", "files"), b.past)
	}
	if more {
		fmt.Fprintln(cmd.ErrOrStderr(), "there are more than one listing holds: run it again")
	}
	if len(failed) > 0 {
		return errShown
	}
	return nil
}
