package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"time"
)

// lowestTarget keeps the target's node id out of the way of legacy's ids. Kafka
// generates ids up to 1000 plus the number of brokers; people write small ones.
const lowestTarget = 10000

// Validate says the first thing that is wrong, with the key, what it should be
// and what to write; nil when the server can be started with c. Parse has done
// it already: this is for a Config made in code.
func (c Config) Validate() error {
	if p := c.problem(); p != nil {
		return fmt.Errorf("check config: %w", p)
	}
	return nil
}

// A problem is a value that cannot work.
type problem struct {
	key  string // as in the file: "flip.hold", "legacy.bootstrap[1]"
	text string
}

func (p *problem) Error() string { return p.key + ": " + p.text }

func wrong(key, format string, args ...any) *problem {
	return &problem{key: key, text: fmt.Sprintf(format, args...)}
}

func (c Config) problem() *problem {
	for _, check := range []func() *problem{c.legacyProblem, c.addressProblem, c.topicsProblem, c.timeProblem, c.logProblem} {
		if p := check(); p != nil {
			return p
		}
	}
	return nil
}

func (c Config) legacyProblem() *problem {
	if len(c.Legacy.Bootstrap) == 0 {
		return wrong("legacy.bootstrap", "no broker of the legacy cluster is named: give at least one host:port")
	}
	for i, addr := range c.Legacy.Bootstrap {
		if host, port, ok := splitAddr(addr); !ok || host == "" || port == 0 {
			return wrong(fmt.Sprintf("legacy.bootstrap[%d]", i), "%q is not the address of a broker: write host:port, as in bootstrap.servers of a client", addr)
		}
		if addr == c.Listen {
			return wrong(fmt.Sprintf("legacy.bootstrap[%d]", i), "%q is the address this server listens on: name legacy's own brokers", addr)
		}
	}
	if c.Legacy.OwnerTopic == "" {
		return wrong("legacy.ownerTopic", "is empty: leave the key out to get %s", Default().Legacy.OwnerTopic)
	}
	return nil
}

func (c Config) addressProblem() *problem {
	host, port, ok := splitAddr(c.Listen)
	if !ok {
		return wrong("listen", "%q is not an address to listen on: write host:port", c.Listen)
	}
	if ip, err := netip.ParseAddr(host); c.AdvertisedHost == "" && (host == "" || err == nil && ip.IsUnspecified()) {
		return wrong("listen", "%q listens everywhere, and clients cannot be told to connect to everywhere: set advertisedHost to the name they reach this machine by", c.Listen)
	}
	if c.Ports != (Ports{}) && (c.Ports.First < 1 || c.Ports.Last > 65535 || c.Ports.Count() < 1) {
		return wrong("ports", "%d-%d is not a range of ports: write \"19093-19192\", or 0 for free ones", c.Ports.First, c.Ports.Last)
	}
	if port != 0 && port >= c.Ports.First && port <= c.Ports.Last {
		return wrong("ports", "%s holds %d, the port of listen: the target's node needs one of its own", c.Ports, port)
	}
	if c.TargetNode < lowestTarget {
		return wrong("targetNode", "%d may be the id of a legacy broker one day: take one from %d up", c.TargetNode, lowestTarget)
	}
	if c.Data == "" {
		return wrong("data", "is empty: name the folder for the target's log and the routes")
	}
	if p := c.Objects.problem(); p != nil {
		return p
	}
	host, adminPort, ok := splitAddr(c.Admin)
	if !ok || !isLoopback(host) {
		return wrong("admin", "%q is not a loopback address: it has no password, so only this machine may reach it; write 127.0.0.1:PORT", c.Admin)
	}
	if adminPort != 0 && (adminPort == port || c.Ports.Count() > 0 && adminPort >= c.Ports.First && adminPort <= c.Ports.Last) {
		return wrong("admin", "port %d is taken by listen or ports: take another one", adminPort)
	}
	return nil
}

func (o Objects) problem() *problem {
	if o.Bucket == "" && o != (Objects{}) {
		return wrong("objects.bucket", "is empty, but other keys of objects are set: name the bucket, or leave all of them out")
	}
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return wrong("objects.endpoint", "%q is not the URL of a server: write https://host:port", o.Endpoint)
	}
	return nil
}

func (c Config) topicsProblem() *problem {
	for key, patterns := range map[string][]string{"topics.include": c.Topics.Include, "topics.exclude": c.Topics.Exclude} {
		for i, p := range patterns {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				return wrong(fmt.Sprintf("%s[%d]", key, i), "%q is not a pattern: write a topic name, with * for any run of characters and ? for one", p)
			}
		}
	}
	if len(c.Topics.Include) == 0 {
		return wrong("topics.include", "is empty, so nothing would be mirrored: write [\"*\"] for every topic that exclude does not name")
	}
	return nil
}

// longestHold is the highest hard stop. Clients time a produce request out after
// 30 s by default and the hold has to stay below a tenth of that.
const longestHold = 3 * time.Second

func (c Config) timeProblem() *problem {
	for _, d := range []struct {
		key string
		is  time.Duration
	}{
		{"legacy.startTimeout", c.Legacy.StartTimeout},
		{"flip.hold", c.Flip.Hold},
		{"flip.hardStop", c.Flip.HardStop},
		{"rollback.maxDrain", c.Rollback.MaxDrain},
		{"copy.stopped", c.Copy.Stopped},
	} {
		if d.is <= 0 {
			return wrong(d.key, "%s is no time at all: write one above zero, like %s", d.is, durationOf(Default(), d.key))
		}
	}
	switch {
	case c.Flip.HardStop > longestHold:
		return wrong("flip.hardStop", "%s is longer than %s, a tenth of the time after which producers give a request up by default", c.Flip.HardStop, longestHold)
	case c.Flip.Hold > c.Flip.HardStop:
		return wrong("flip.hold", "%s is longer than flip.hardStop, %s: the aim has to be below the bound", c.Flip.Hold, c.Flip.HardStop)
	case c.Flip.Attempts < 1:
		return wrong("flip.attempts", "%d would never try: write 1 or more", c.Flip.Attempts)
	case c.Rollback.MaxDrain >= c.Flip.Hold:
		return wrong("rollback.maxDrain", "%s has to be below flip.hold, %s: a rollback drains while producers are held", c.Rollback.MaxDrain, c.Flip.Hold)
	}
	return nil
}

func durationOf(c Config, key string) time.Duration {
	switch key {
	case "legacy.startTimeout":
		return c.Legacy.StartTimeout
	case "flip.hold":
		return c.Flip.Hold
	case "flip.hardStop":
		return c.Flip.HardStop
	case "rollback.maxDrain":
		return c.Rollback.MaxDrain
	default:
		return c.Copy.Stopped
	}
}

func (c Config) logProblem() *problem {
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		return wrong("log.level", "%q is not a level: write debug, info, warn or error", c.Log.Level)
	}
	switch c.Log.Format {
	case "text", "json":
	default:
		return wrong("log.format", "%q is not a format: write text or json", c.Log.Format)
	}
	return nil
}

// splitAddr takes host:port apart; port 0 is valid here.
func splitAddr(addr string) (host string, port int, ok bool) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(p)
	return host, port, err == nil && port >= 0 && port <= 65535
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
