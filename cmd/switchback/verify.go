package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"switchback/cmd/internal/admin"
)

func newVerify(p *program) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify TOPIC...",
		Short: "Compare topics on legacy and target, batch by batch",
		Long: `Read topics on both clusters and compare them batch by batch: offset, length and
CRC, so every byte. Where the digests of two logs differ, the first batch that
does is searched for and shown. Nothing is changed, and clients go on.

What is compared is what both sides hold at this moment: from the later start to
the earlier end of the two logs.

Exit codes: 0 equal; 8 a difference; 10 no such topic; 4 no server answers.`,
		Example: "  switchback verify orders payments --json",
		Args:    topics,
	}
	c := newCaller(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := c.backend()
		if err != nil {
			return c.fail(err)
		}
		report, err := b.Verify(cmd.Context(), admin.VerifyRequest{Topics: args}, c.story())
		switch {
		case err != nil:
			return c.fail(err)
		case c.json:
			err = printJSON(c.out, report)
		default:
			printVerify(c.out, report)
		}
		if err == nil && !report.Equal {
			return done{admin.CodeDiffers}
		}
		return err
	}
	return cmd
}

func printVerify(w io.Writer, r admin.VerifyReport) {
	var batches, bytes, epochs int64
	differ := 0
	for _, p := range r.Partitions {
		batches, bytes, epochs = batches+p.Batches, bytes+p.Bytes, epochs+p.EpochsDiffer
		if p.Equal {
			continue
		}
		differ++
		fmt.Fprintf(w, "%s/%d differs", p.Topic, p.Partition)
		if p.First != nil {
			fmt.Fprintf(w, " from offset %d on\n  legacy: %s\n  target: %s", p.First.Offset, p.First.Legacy, p.First.Target)
		}
		fmt.Fprintln(w)
	}
	verdict := "equal, byte for byte"
	if !r.Equal {
		verdict = fmt.Sprintf("%d of them differ", differ)
	}
	fmt.Fprintf(w, "%s: %s (%s, %s, read on both sides in %s)\n",
		count(len(r.Partitions), "partition"), verdict, grouped(batches)+" batches", size(bytes), millis(r.ElapsedMs))
	if epochs > 0 {
		fmt.Fprintf(w, "  %s equal batches carry another leader epoch: acknowledged while legacy was electing\n", grouped(epochs))
	}
}
