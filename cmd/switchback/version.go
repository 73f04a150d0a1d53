package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
)

// version is the release; a build may set it with -ldflags -X main.version=.
var version = "dev"

func newVersion(p *program) *cobra.Command {
	var server bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is, and the server",
		Long: `Say which version this program is; with --server also which one is running.

Exit codes: 0 said; 4 --server and no server answers.`,
		Args: noArgs,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		said := struct {
			Program admin.Version  `json:"program"`
			Server  *admin.Version `json:"server,omitempty"`
		}{Program: buildVersion()}
		if server {
			b, err := c.backend()
			if err != nil {
				return c.fail(err)
			}
			v, err := b.Version(cmd.Context())
			if err != nil {
				return c.fail(err)
			}
			said.Server = &v
		}
		if c.json {
			return printJSON(c.out, said)
		}
		fmt.Fprintf(c.out, "switchback %s\n", describe(said.Program))
		if said.Server != nil {
			fmt.Fprintf(c.out, "server     %s\n", describe(*said.Server))
		}
		return nil
	}
	cmd.Flags().BoolVar(&server, "server", false, "ask the running server too")
	return cmd
}

func describe(v admin.Version) string {
	s := v.Version
	if v.Revision != "" {
		s += " " + v.Revision
	}
	return s + " (" + v.Go + ")"
}

func buildVersion() admin.Version {
	v := admin.Version{Version: version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v.Revision = s.Value[:12]
			}
		}
	}
	return v
}
