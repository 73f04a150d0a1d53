package config

import (
	"fmt"
	"os"
	"path"
	"strings"
	"time"
)

// A Config is everything a server is told. Default gives the values of what a
// file leaves out; the zero Config is not valid.
type Config struct {
	Legacy Legacy `yaml:"legacy"`
	// Listen is the address of the target's node, host:port. It is the one
	// address that clients change to: their bootstrap.servers. Port 0 takes a
	// free one.
	Listen string `yaml:"listen"`
	// Ports are the ports for the nodes that stand for legacy's brokers, one
	// each, on Listen's host. A broker keeps its port for ever.
	Ports Ports `yaml:"ports"`
	// AdvertisedHost is the host that clients are told to connect to, for every
	// node. Empty: Listen's host.
	AdvertisedHost string `yaml:"advertisedHost"`
	// TargetNode is the node id that the target is shown under. It must be
	// higher than any id that legacy has or will ever have.
	TargetNode int32 `yaml:"targetNode"`
	// Data is the folder that holds the target's log, the routes and the owner
	// record. Relative to the working directory.
	Data string `yaml:"data"`
	// Objects is the bucket for what the target keeps.
	Objects Objects `yaml:"objects"`
	// Admin is the loopback address for the other commands, host:port.
	Admin    string   `yaml:"admin"`
	Topics   Topics   `yaml:"topics"`
	Flip     Flip     `yaml:"flip"`
	Rollback Rollback `yaml:"rollback"`
	Copy     Copy     `yaml:"copy"`
	Log      Log      `yaml:"log"`
}

// Legacy is how to reach the existing cluster.
type Legacy struct {
	// Bootstrap are brokers of it, host:port each; one that answers is enough.
	Bootstrap []string `yaml:"bootstrap"`
	// StartTimeout is how long a start tries to reach it, with back-off, before
	// the server gives up and exits.
	StartTimeout time.Duration `yaml:"startTimeout"`
	// OwnerTopic is the small topic on legacy that says which server owns the
	// migration. Two servers that migrate different topics of one cluster need
	// two; nothing else ever changes it.
	OwnerTopic string `yaml:"ownerTopic"`
}

// Objects is a bucket with S3's interface; without Bucket they are a folder in
// Data. Keys come from AWS's default chain: environment, shared files, role.
type Objects struct {
	Bucket string `yaml:"bucket"`
	// Prefix is in front of every key: several servers may share a bucket.
	Prefix string `yaml:"prefix"`
	// Endpoint is the URL of a server that is not AWS's.
	Endpoint string `yaml:"endpoint"`
	Region   string `yaml:"region"`
	// PathStyle puts the bucket into the path, as most servers want that are not
	// AWS's.
	PathStyle bool `yaml:"pathStyle"`
}

// Topics says which topics of legacy are mirrored. Patterns are globs: `*` any
// run of characters, `?` one, `[a-z]` one of these.
type Topics struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"` // wins over Include
}

// Match reports whether the topic is to be mirrored. Patterns must be valid:
// Config.Validate has seen to it.
func (t Topics) Match(topic string) bool {
	return matchAny(t.Include, topic) && !matchAny(t.Exclude, topic)
}

func matchAny(patterns []string, topic string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, topic); ok && err == nil {
			return true
		}
	}
	return false
}

// Flip bounds how long producers may be held, at a flip and at a rollback.
type Flip struct {
	// Hold is the aim: an attempt that would hold producers longer is given up
	// and produce goes on where it was.
	Hold time.Duration `yaml:"hold"`
	// HardStop is the longest that a produce request is ever held. A server
	// that does not know by then how an attempt ended closes the connections of
	// what it holds, and the clients ask again.
	HardStop time.Duration `yaml:"hardStop"`
	// Attempts is how often a flip is tried, with back-off, before the command
	// gives up.
	Attempts int `yaml:"attempts"`
}

// Rollback bounds the way back.
type Rollback struct {
	// MaxDrain is the longest that legacy may need to receive what it does not
	// have yet, as measured: above it a rollback is refused with the figure.
	MaxDrain time.Duration `yaml:"maxDrain"`
}

// Copy bounds how long readers wait for the copy between the clusters.
type Copy struct {
	// Stopped is how long a read waits for a copy that makes no progress before
	// its partition is relocated to the target.
	Stopped time.Duration `yaml:"stopped"`
}

// Log is what the server writes to stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Default is the Config of an empty file.
func Default() Config {
	return Config{
		Legacy: Legacy{
			Bootstrap:    []string{"127.0.0.1:9092"},
			StartTimeout: 60 * time.Second,
			OwnerTopic:   "__switchback_owner",
		},
		Listen:     "127.0.0.1:19092",
		Ports:      Ports{First: 19093, Last: 19192},
		TargetNode: 1000001,
		Data:       "switchback-data",
		Admin:      "127.0.0.1:7070",
		Topics:     Topics{Include: []string{"*"}, Exclude: []string{"__*"}},
		Flip:       Flip{Hold: 300 * time.Millisecond, HardStop: 2 * time.Second, Attempts: 5},
		Rollback:   Rollback{MaxDrain: 100 * time.Millisecond},
		Copy:       Copy{Stopped: 2 * time.Second},
		Log:        Log{Level: "info", Format: "text"},
	}
}

// Load reads and validates the file. Its errors are *Error where the file is at
// fault.
func Load(file string) (Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("read config: %w", err)
	}
	return Parse(file, text)
}

// Parse is Load for a file that was read already; name is what errors call it.
func Parse(name string, text []byte) (Config, error) {
	cfg := Default()
	doc, err := decode(name, text, &cfg)
	if err != nil {
		return Config{}, err
	}
	if p := cfg.problem(); p != nil {
		return Config{}, doc.locate(p)
	}
	return cfg, nil
}

// Host is the host that clients are told to connect to.
func (c Config) Host() string {
	if c.AdvertisedHost != "" {
		return c.AdvertisedHost
	}
	host, _, _ := strings.Cut(c.Listen, ":")
	if i := strings.LastIndexByte(c.Listen, ':'); i >= 0 {
		host = strings.Trim(c.Listen[:i], "[]")
	}
	return host
}
