package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"switchback/e2e/kafka"
	"switchback/e2e/machine"
	"switchback/e2e/server"
)

// TestDemoOnARealCluster: what a user runs first on a cluster of their own ends ok there, and leaves no topic behind.
func TestDemoOnARealCluster(t *testing.T) {
	cluster := kafka.Run(t, kafka.Options{Brokers: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	binary, err := server.Binary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	said := machine.NewTail(64 << 10)
	err = machine.Run(ctx, machine.Command{
		Name: "switchback demo", Path: binary, Args: []string{"demo", "--legacy", cluster.Addrs()[1], "--json", "-v"}, Stdout: &out, Stderr: said,
	})
	t.Log(out.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var result struct {
		Verdict      string `json:"verdict"`
		Lost         *int64 `json:"lost"`
		Duplicated   *int64 `json:"duplicated"`
		Reordered    *int64 `json:"reordered"`
		ClientErrors *int64 `json:"client_errors"`
		Rebalances   *int64 `json:"rebalances"`
		Equal        bool   `json:"digests_equal"`
		Records      int64  `json:"records"`
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	for what, n := range map[string]*int64{
		"lost": result.Lost, "duplicated": result.Duplicated, "reordered": result.Reordered, "client_errors": result.ClientErrors, "rebalances": result.Rebalances,
	} {
		if n == nil || *n != 0 {
			t.Errorf("%s is not 0", what)
		}
	}
	if result.Verdict != "ok" || !result.Equal || result.Records == 0 {
		t.Errorf("verdict %q, digests equal %v, %d records", result.Verdict, result.Equal, result.Records)
	}
	// A broker learns of a deletion a moment after it was answered.
	err = machine.Until(ctx, 20*time.Second, "no topic to be left behind", func(ctx context.Context) error {
		left, err := cluster.Topics(ctx)
		for _, name := range left {
			if strings.Contains(name, "switchback") {
				return errors.New(name)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
