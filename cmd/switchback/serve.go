package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
)

type serveOptions struct {
	config  string
	example bool
	adopt   bool
}

func newServe(p *program) *cobra.Command {
	var opts serveOptions
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the server that clients connect to",
		Long: `Run the server: the address that clients connect to, the copy of legacy's
topics, and the log that topics move to. It runs until it is stopped, and
everything it is in the middle of survives that: a start resumes or undoes it.

  switchback serve --example > switchback.yaml    every key, its default, a comment
  switchback serve --config switchback.yaml

--adopt takes a cluster over whose owner record names another data folder. Use it
only when that folder is lost for good: topics that had moved then count as being
on legacy again, and what only the lost folder held is lost. Where the folder
still exists, start the server on it instead.

Exit codes: 0 stopped; 3 configuration; 5 legacy never answered; 9 the data folder
is in use, of another cluster, or not the owner; 11 an address is taken; 12 the log
cannot be read or written. All of them: switchback help exit-codes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd.Context(), p, opts) },
	}
	cmd.Flags().StringVarP(&opts.config, "config", "c", "", "configuration `FILE`")
	cmd.Flags().BoolVar(&opts.example, "example", false, "print a commented configuration and exit")
	cmd.Flags().BoolVar(&opts.adopt, "adopt", false, "take over from a data folder that is lost")
	return cmd
}

func runServe(ctx context.Context, p *program, opts serveOptions) error {
	if opts.example {
		_, err := io.WriteString(p.out, config.Example())
		return err
	}
	if opts.config == "" {
		return usage("serve needs a configuration", "switchback serve --example > switchback.yaml, then switchback serve --config switchback.yaml")
	}
	cfg, err := config.Load(opts.config)
	if err != nil {
		if file := (*config.Error)(nil); errors.As(err, &file) {
			return err
		}
		return &admin.Error{Op: "start", Text: err.Error(), Code: admin.CodeConfig,
			Hint: "a file to begin with: switchback serve --example > " + opts.config}
	}
	srv, err := p.start(ctx, cfg, startOptions{Adopt: opts.adopt, Log: newLog(p.err, cfg.Log)})
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it was starting
		}
		return err
	}
	fmt.Fprintf(p.out, "switchback is up: clients bootstrap at %s, commands at %s\n", srv.Addr(), srv.AdminAddr())
	ended := make(chan error, 1)
	go func() { ended <- srv.Wait() }()
	select {
	case err := <-ended:
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
	}
	err = srv.Close()
	if werr := <-ended; err == nil && !errors.Is(werr, context.Canceled) {
		err = werr
	}
	return err
}

func newLog(w io.Writer, cfg config.Log) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	opts := &slog.HandlerOptions{Level: levels[cfg.Level]}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
