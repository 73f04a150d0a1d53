package main

import (
	"context"

	"switchback/cmd/internal/config"
	"switchback/cmd/internal/server"
)

// startServer is the real server, for `serve` and `demo`.
func startServer(ctx context.Context, cfg config.Config, opts startOptions) (running, error) {
	s, err := server.Start(ctx, cfg, server.Options{Adopt: opts.Adopt, Logger: opts.Log, Version: buildVersion()})
	if err != nil {
		return nil, err // not s: a nil *Server is no nil running
	}
	return s, nil
}
