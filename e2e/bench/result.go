package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// A Result is what a case has measured.
type Result struct {
	Bench   string `json:"bench"`
	Machine string `json:"machine"`
	Rows    []Row  `json:"rows"`
}

// A Row is one figure beside the peer's. Peer, Ratio, Aim and Met are null where the figure stands alone or nothing was aimed at.
type Row struct {
	Case   string   `json:"case"`
	Metric string   `json:"metric"` // with its unit
	Ours   float64  `json:"ours"`
	Peer   *float64 `json:"peer"`
	Ratio  *float64 `json:"ratio"` // ours / peer
	Aim    *string  `json:"aim"`
	Met    *bool    `json:"met"`
}

// beside is a row with a peer's figure and no aim.
func beside(name, metric string, ours, peer float64) Row {
	r := Row{Case: name, Metric: metric, Ours: ours, Peer: &peer}
	if ratio := ours / peer; !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
		r.Ratio = &ratio
	}
	return r
}

// ratioAtMost aims at a ratio to the peer.
func (r Row) ratioAtMost(limit float64) Row {
	aim := fmt.Sprintf("ratio <= %g", limit)
	met := r.Ratio != nil && *r.Ratio <= limit
	r.Aim, r.Met = &aim, &met
	return r
}

func printJSON(w io.Writer, r Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

func printTable(w io.Writer, r Result) error {
	fmt.Fprintf(w, "%s on %s\n\n", r.Bench, r.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "case\tmetric\tours\tpeer\tratio\taim\tmet")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Case, row.Metric, figure(&row.Ours), figure(row.Peer), figure(row.Ratio), word(row.Aim), yes(row.Met))
	}
	return t.Flush()
}

// figure prints three digits that count.
func figure(f *float64) string {
	if f == nil {
		return "-"
	}
	digits := 0
	if v := math.Abs(*f); v > 0 && v < 100 {
		digits = 2 - int(math.Floor(math.Log10(v)))
	}
	return fmt.Sprintf("%.*f", min(digits, 4), *f)
}

func word(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func yes(b *bool) string {
	switch {
	case b == nil:
		return "-"
	case *b:
		return "yes"
	}
	return "NO"
}

// machineNow says what figures were measured on.
func machineNow() string {
	model := "unknown CPU"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown kernel")
	}
	return fmt.Sprintf("%d cores of %s, Linux %s, %s, loopback", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}
