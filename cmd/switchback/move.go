package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"switchback/cmd/internal/admin"
	"switchback/offsets"
)

// What flip, relocate and rollback have in common: a story, then a report.

// story prints the lines of something that takes a while, with the time since
// it began. With --json it keeps quiet.
func story(w io.Writer, quiet bool) func(admin.Line) {
	var began time.Time
	return func(l admin.Line) {
		if quiet {
			return
		}
		if began.IsZero() {
			began = l.At
		}
		mark := " "
		if l.Warn {
			mark = "!"
		}
		subject := ""
		if l.Subject != "" {
			subject = l.Subject + ": "
		}
		fmt.Fprintf(w, "%s %7.3fs  %s%s\n", mark, l.At.Sub(began).Seconds(), subject, l.Text)
	}
}

// finish prints the report of a move, or why there is none.
func (c *caller) finish(report admin.MoveReport, err error) error {
	switch {
	case err != nil:
		return c.fail(err)
	case c.json:
		return printJSON(c.out, report)
	}
	printMove(c.out, report)
	return nil
}

// nouns are what people call the kinds of moves.
var nouns = map[admin.MoveKind]string{
	admin.KindFlip: "flip", admin.KindRollback: "rollback", admin.KindRelocate: "relocation", admin.KindTakeBack: "relocation back",
}

func printMove(w io.Writer, r admin.MoveReport) {
	what := strings.Join(r.Topics, ", ")
	fmt.Fprintf(w, "%s: %s of %s done in %s", what, nouns[r.Kind], count(r.Partitions, "partition"), millis(float64(r.Finished.Sub(r.Started).Microseconds())/1000))
	if r.Attempts > 1 {
		fmt.Fprintf(w, ", in attempt %d", r.Attempts)
	}
	fmt.Fprintln(w)
	if r.HoldMs > 0 {
		fmt.Fprintf(w, "  producers waited %s", millis(r.HoldMs))
		if r.DrainMs > 0 {
			fmt.Fprintf(w, ", %s of it for legacy to receive the last records", millis(r.DrainMs))
		}
		fmt.Fprintln(w)
	}
	next := "switchback rollback " + strings.Join(r.Topics, " ")
	switch {
	case r.Home == offsets.Legacy:
		fmt.Fprintln(w, "  written on legacy; the target follows it again")
		return
	case r.Relocated:
		fmt.Fprintln(w, "  written and read on the target; clients move there with their next metadata refresh; legacy is kept equal")
	default:
		fmt.Fprintln(w, "  written on the target; read where it was; legacy is kept equal")
	}
	fmt.Fprintf(w, "  the way back: %s\n", next)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// millis writes a time for people.
func millis(ms float64) string {
	switch {
	case ms >= 10_000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f ms", ms)
	}
}
