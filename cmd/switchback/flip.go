package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
)

type flipOptions struct {
	dryRun        bool
	acceptInexact bool
}

func newFlip(p *program) *cobra.Command {
	var opts flipOptions
	cmd := &cobra.Command{
		Use:   "flip TOPIC...",
		Short: "Make the target the place where topics are written",
		Long: `Flip topics: the target becomes their home, all of them at one instant or none.
Producers wait a moment, nobody is disconnected, no consumer rebalances, and
legacy is kept equal from then on, so that ` + "`switchback rollback`" + ` can take it back.

A flip is refused, with what stands in the way, when the copy is behind, when
transactional producers write the topic, when somebody writes it past switchback,
or when the way back would not be exact. --dry-run makes these checks and nothing
else. One that cannot be finished within its deadline is given up and tried again
with back-off (flip in the configuration); producers go on where they were.

--accept-inexact lets topics through whose legacy configuration makes legacy
rewrite what it receives (message.timestamp.type=LogAppendTime, compression.type
other than producer): after a rollback records and offsets are the same, bytes and
timestamps are not.

Exit codes: 0 flipped (or --dry-run: would be); 6 refused, nothing was changed;
7 given up, nothing was changed; 10 no such topic; 4 no server answers.`,
		Example: "  switchback flip orders --dry-run\n  switchback flip orders payments",
		Args:    topics,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runFlip(cmd.Context(), c, opts, args) }
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "check only, change nothing")
	cmd.Flags().BoolVar(&opts.acceptInexact, "accept-inexact", false, "flip topics whose bytes legacy would rewrite on the way back")
	return cmd
}

func runFlip(ctx context.Context, c *caller, opts flipOptions, names []string) error {
	b, err := c.backend()
	if err != nil {
		return c.fail(err)
	}
	if !opts.dryRun {
		return c.finish(b.Flip(ctx, admin.FlipRequest{Topics: names, AcceptInexact: opts.acceptInexact}, c.story()))
	}
	report, err := b.Check(ctx, admin.CheckRequest{Topics: names, AcceptInexact: opts.acceptInexact}, c.story())
	switch {
	case err != nil:
		return c.fail(err)
	case c.json:
		err = printJSON(c.out, report)
	default:
		printCheck(c.out, report)
	}
	if err == nil && !report.Ready {
		return done{admin.CodeRefused}
	}
	return err
}

func printCheck(w io.Writer, r admin.CheckReport) {
	for _, f := range r.Findings {
		printFinding(w, f)
	}
	if r.Ready {
		fmt.Fprintf(w, "%s: a flip would be made now; nothing was changed\n", strings.Join(r.Topics, ", "))
	} else {
		fmt.Fprintf(w, "%s: a flip would be refused now; nothing was changed\n", strings.Join(r.Topics, ", "))
	}
}

func printFinding(w io.Writer, f admin.Finding) {
	fmt.Fprintf(w, "  %-5s  %s: %s: %s\n", f.Level, f.Subject, f.Check, f.Fact)
	if f.Hint != "" {
		fmt.Fprintf(w, "         -> %s\n", f.Hint)
	}
}
