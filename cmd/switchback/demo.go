package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
	"switchback/cmd/internal/demo"
)

type demoOptions struct {
	legacy  string
	json    bool
	verbose bool
}

func newDemo(p *program) *cobra.Command {
	var opts demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a whole migration, there and back, in under a minute",
		Long: `Show a whole migration, there and back, in under a minute, and check it.

It starts a legacy cluster of three brokers in this process, a switchback in front
of it, idempotent producers (5,000 records/s) and two consumer groups. While they
work the topic is mirrored, flipped, relocated, rolled back and verified. Every
line is something that was measured; at the end every acknowledged record is
looked up on the legacy cluster itself. Everything is removed afterwards.

--legacy does the same on a topic of its own in a real cluster, which needs to be
reached without TLS or SASL. Topics and groups that it makes there begin with
switchback-demo- (and one with __switchback-demo-), and are deleted at the end.

Exit codes: 0 everything was as promised; 8 something was not, and what; 5 the real
cluster does not answer; 1 it could not be carried through.`,
		Example: "  switchback demo\n  switchback demo --legacy broker-1:9092 --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), p, opts) },
	}
	cmd.Flags().StringVar(&opts.legacy, "legacy", "", "brokers of a real cluster, `HOST:PORT,...`; one is enough")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print one JSON object instead of the story (-v tells it on stderr)")
	cmd.Flags().BoolVarP(&opts.verbose, "verbose", "v", false, "show the server's log too, on stderr")
	return cmd
}

func runDemo(ctx context.Context, p *program, opts demoOptions) error {
	log, tell := slog.New(slog.DiscardHandler), story(p.out, opts.json)
	if opts.verbose {
		log = newLog(p.err, config.Default().Log)
	}
	if opts.json && opts.verbose {
		tell = story(p.err, false) // stdout is for the object
	}
	result, err := demo.Run(ctx, demo.Options{
		Start: func(ctx context.Context, cfg config.Config) (demo.Server, error) {
			return p.start(ctx, cfg, startOptions{Log: log})
		},
		Legacy: opts.legacy,
		Tell:   tell,
	})
	if opts.json {
		if werr := printJSON(p.out, result); werr != nil {
			return werr
		}
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return &admin.Error{Op: "demo", Text: "interrupted", Hint: "what it had made was removed", Code: admin.CodeInterrupted}
	case err != nil:
		return err
	case !result.OK():
		return done{admin.CodeDiffers}
	default:
		return nil
	}
}
