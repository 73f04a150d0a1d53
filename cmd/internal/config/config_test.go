package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchback/cmd/internal/config"
)

func TestExampleSaysTheDefaults(t *testing.T) {
	got, err := config.Parse("example", []byte(config.Example()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Default(), got); d != "" {
		t.Errorf("-default +example:\n%s", d)
	}
}

// A key that the example forgets would keep its default and go unnoticed.
func TestExampleSaysEveryKey(t *testing.T) {
	var keys func(reflect.Type) []string
	keys = func(of reflect.Type) (all []string) {
		for i := range of.NumField() {
			f := of.Field(i)
			all = append(all, f.Tag.Get("yaml"))
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[config.Ports]() {
				all = append(all, keys(f.Type)...)
			}
		}
		return all
	}
	for _, key := range keys(reflect.TypeFor[config.Config]()) {
		if key == "" || !strings.Contains(config.Example(), key+":") {
			t.Errorf("key %q is not in the example", key)
		}
	}
}

func TestDefaultsCanBeStarted(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenWins(t *testing.T) {
	got, err := config.Parse("f", []byte(`
legacy: {bootstrap: [b1:9092, "b2:9092"]}
listen: 0.0.0.0:9092
advertisedHost: kafka.example
ports: 9100
topics: {include: ["shop.*", audit]}
flip:
  hold: 150ms
`))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Legacy.Bootstrap = []string{"b1:9092", "b2:9092"}
	want.Listen, want.AdvertisedHost, want.Ports = "0.0.0.0:9092", "kafka.example", config.Ports{First: 9100, Last: 9199}
	want.Topics.Include = []string{"shop.*", "audit"}
	want.Flip.Hold = 150 * time.Millisecond
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got.Host() != "kafka.example" {
		t.Errorf("host %q", got.Host())
	}
	for topic, in := range map[string]bool{"shop.orders": true, "audit": true, "audit2": false, "__consumer_offsets": false} {
		if got.Topics.Match(topic) != in {
			t.Errorf("topic %s mirrored: %v", topic, !in)
		}
	}
}

func TestNothingMeansDefaults(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# nothing\n", "---\n# nothing\n"} {
		got, err := config.Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if d := cmp.Diff(config.Default(), got); d != "" {
			t.Errorf("%q:\n%s", text, d)
		}
	}
}

// Every mistake is told with its place, and in words that help.
func TestBadFiles(t *testing.T) {
	for _, c := range []struct {
		text         string
		line, column int
		says         string
	}{
		{"lissten: a:1\n", 1, 1, `unknown key "lissten": here can be legacy, listen,`},
		{"flip:\n  hold: 1s\n  holds: 1s\n", 3, 3, `unknown key "flip.holds": here can be hold, hardStop, attempts`},
		{"flip:\n  hard_stop: 1s\n", 2, 3, `did you mean "hardStop"?`},
		{"listen: [a]\n", 1, 9, "listen: is a list, want text"},
		{"listen: true\n", 1, 9, "listen: is true or false, want text"},
		{"listen: 9092\n", 1, 9, "listen: is a number, want text"},
		{"data:\n", 1, 1, "data: is nothing, want text"},
		{"targetNode: lots\n", 1, 13, "targetNode: is text, want a whole number"},
		{"targetNode: \"1000001\"\n", 1, 13, "is text, want a whole number"},
		{"targetNode: 1e6\n", 1, 13, "is text, want a whole number"},
		{"targetNode: 1.5\n", 1, 13, "is a fraction, want a whole number"},
		{"targetNode: 99999999999\n", 1, 13, "too large a number"},
		{"flip: fast\n", 1, 7, "flip: is text, want keys and values"},
		{"flip:\n", 1, 1, "flip: is nothing, want keys and values"},
		{"flip: {hold: 300}\n", 1, 14, "flip.hold: is a number, want a time with a unit"},
		{"flip: {hold: 3 ms}\n", 1, 14, `flip.hold: "3 ms" is not a time`},
		{"legacy:\n  bootstrap: a:1\n", 2, 14, "legacy.bootstrap: is text, want a list"},
		{"legacy: {bootstrap: [a:1, 2]}\n", 1, 27, "legacy.bootstrap[1]: is a number, want text"},
		{"legacy: {bootstrap: [a: 1]}\n", 1, 22, "legacy.bootstrap[0]: is keys and values, want text"},
		{"ports: 19100-19000\n", 1, 8, "is not a range of ports"},
		{"ports: {first: 1}\n", 1, 9, "want a range of ports"},
		{"data: a\ndata: b\n", 2, 1, "data"},
		{"data: a\n---\ndata: b\n", 3, 1, "a second document begins here"},
		{"- data\n", 1, 1, "the file holds a list, want keys and values"},
		{"just words\n", 1, 1, "the file holds text, want keys and values"},
		{"data: &x here\nadmin: *x\n", 1, 7, "an anchor, alias or tag"},
		{"data: {a: b\n", 1, 7, ""},
		{"data: a\n  listen: b\n", 1, 7, ""},

		{"legacy: {bootstrap: []}\n", 1, 21, "no broker of the legacy cluster is named: give at least one host:port"},
		{"legacy:\n  bootstrap: [a:1,\n    b]\n", 3, 5, `legacy.bootstrap[1]: "b" is not the address of a broker`},
		{"legacy: {bootstrap: [\"127.0.0.1:19092\"]}\n", 1, 22, "is the address this server listens on"},
		{"listen: here\n", 1, 9, `"here" is not an address to listen on: write host:port`},
		{"listen: 0.0.0.0:9092\n", 1, 9, "set advertisedHost"},
		{"listen: 127.0.0.1:19100\n", 1, 1, "the port of listen"}, // ports is a default: told at the top
		{"targetNode: 3\n", 1, 13, "may be the id of a legacy broker one day"},
		{"data: \"\"\n", 1, 7, "name the folder"},
		{"objects: {bucket: b, pathStyle: yes please}\n", 1, 33, "is text, want true or false"},
		{"objects: {prefix: a}\n", 1, 1, "name the bucket"},
		{"objects: {bucket: b, endpoint: here}\n", 1, 32, "not the URL of a server"},
		{"admin: 0.0.0.0:7070\n", 1, 8, "not a loopback address"},
		{"admin: 127.0.0.1:19092\n", 1, 8, "taken by listen or ports"},
		{"topics: {include: []}\n", 1, 19, "nothing would be mirrored"},
		{"topics: {exclude: [\"[a\"]}\n", 1, 20, "is not a pattern"},
		{"flip: {hold: 0s}\n", 1, 14, "no time at all: write one above zero, like 300ms"},
		{"flip: {hardStop: 10s}\n", 1, 18, "longer than 3s"},
		{"flip: {hold: 2500ms}\n", 1, 14, "longer than flip.hardStop, 2s"},
		{"flip: {attempts: 0}\n", 1, 18, "would never try"},
		{"rollback: {maxDrain: 1s}\n", 1, 22, "has to be below flip.hold"},
		{"log: {level: loud}\n", 1, 14, "write debug, info, warn or error"},
		{"log: {format: xml}\n", 1, 15, "write text or json"},
	} {
		_, err := config.Parse("f.yaml", []byte(c.text))
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v", c.text, err)
			continue
		}
		if e.Line != c.line || (c.column != 0 && e.Column != c.column) || !strings.Contains(e.Text, c.says) {
			t.Errorf("%q: got %v", c.text, err)
		}
		if !strings.Contains(e.Excerpt, strings.Split(c.text, "\n")[c.line-1]) {
			t.Errorf("%q: excerpt %q does not show the line", c.text, e.Excerpt)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("oops: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); err == nil || !strings.HasPrefix(err.Error(), file+":1:1: ") {
		t.Errorf("got %v", err)
	}
	if _, err := config.Load(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFreePortsAreForTests(t *testing.T) {
	c := config.Default()
	c.Listen, c.Ports, c.Admin = "127.0.0.1:0", config.Ports{}, "127.0.0.1:0"
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Ports.Count() != 0 || c.Ports.String() != "0" || c.Host() != "127.0.0.1" {
		t.Errorf("ports %s, host %s", c.Ports, c.Host())
	}
	c.Listen = "[::1]:0"
	if c.Host() != "::1" {
		t.Errorf("host %q", c.Host())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(config.Example())
	f.Add("flip: {hold: 1s}\nports: 1-2\n")
	f.Add("a: &a [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := config.Parse("f", []byte(text))
		if err != nil {
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("parsed, but not valid: %v", err)
		}
	})
}
