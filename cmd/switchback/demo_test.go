package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"switchback/cmd/internal/admin"
)

// TestDemo is `switchback demo --json -v`, with everything in it real but legacy,
// which is kfake.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute: run without -short")
	}
	var out, errs bytes.Buffer
	p := &program{out: &out, err: &errs, start: startServer}
	code := p.run(t.Context(), []string{"demo", "--json", "--verbose"})
	var result map[string]any
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatalf("printed no object: %v\n%s%s", err, &out, &errs)
	}
	if code != admin.CodeOK || result["verdict"] != "ok" {
		t.Fatalf("exit code %d: %s%s", code, &out, &errs)
	}
	// Keys that others rely on.
	for _, key := range []string{"lost", "duplicated", "reordered", "client_errors", "rebalances"} {
		if n, there := result[key].(float64); !there || n != 0 {
			t.Errorf("%s: %v", key, result[key])
		}
	}
	pause, isMap := result["pause_ms"].(map[string]any)
	if !isMap || pause["flip"] == nil || pause["rollback"] == nil {
		t.Errorf("pause_ms: %v", result["pause_ms"])
	}
	if result["digests_equal"] != true {
		t.Errorf("digests_equal: %v", result["digests_equal"])
	}
	if n, _ := result["records"].(float64); n < 5000 {
		t.Errorf("records: %v", result["records"])
	}
}
