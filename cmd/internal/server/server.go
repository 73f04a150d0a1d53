package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"switchback/cmd/internal/admin"
	"switchback/cmd/internal/config"
	"switchback/cmd/internal/view"
	"switchback/mirror"
	"switchback/offsets"
	"switchback/plans"
	"switchback/proxy"
	"switchback/storage"
	"switchback/storage/broker"
	"switchback/storage/catalog"
	"switchback/storage/object"
)

// Options are what a command line adds to a configuration.
type Options struct {
	Adopt   bool          // take over from a data folder that is lost
	Version admin.Version // of the program, for those who ask
	Logger  *slog.Logger  // default: slog.Default
}

// A Server is one running process of Switchback. Make one with Start.
type Server struct {
	cfg       config.Config
	log       *slog.Logger
	version   admin.Version
	started   time.Time
	clusterID string
	owned     Owner

	catalog catalog.Catalog // the engine's
	objects object.Store    // nil: a folder of the engine
	engine  *storage.Engine
	broker  *broker.Broker
	mirror  *mirror.Mirror
	proxy   *proxy.Proxy
	owner   *ownership
	world   *world
	runner  *plans.Runner
	agent   *plans.Agent
	view    *view.View
	admin   net.Listener

	stop  context.CancelFunc
	group *errgroup.Group
	ended chan struct{} // closed when group has ended
	err   error         // of group; read after ended
}

// Start brings a server up. It returns when clients can be served; ctx bounds the
// start and the life of the server. Errors are *admin.Error where there is
// something to tell an operator.
func Start(ctx context.Context, cfg config.Config, opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	life, stop := context.WithCancel(ctx)
	s := &Server{cfg: cfg, log: opts.Logger, version: opts.Version, started: time.Now(), stop: stop, ended: make(chan struct{})}
	if err := s.start(life, opts); err != nil {
		stop()
		if s.group != nil {
			_ = s.group.Wait() // its error follows from stop, or is err already
		}
		s.closeParts()
		return nil, operatorError(err)
	}
	go func() {
		s.err = s.group.Wait()
		s.closeParts()
		close(s.ended)
	}()
	return s, nil
}

func (s *Server) start(ctx context.Context, opts Options) error {
	var err error
	// Before anything is touched: a server whose admin address is taken is most
	// often a second one.
	if s.admin, err = admin.Listen(s.cfg.Admin); err != nil {
		return err
	}
	if err := os.MkdirAll(s.cfg.Data, 0o750); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	if s.clusterID, err = s.awaitLegacy(ctx); err != nil {
		return err
	}
	if err := s.openFolder(ctx, opts.Adopt); err != nil {
		return err
	}
	if err := s.assemble(); err != nil {
		return err
	}
	return s.run(ctx)
}

// awaitLegacy asks legacy who it is, with back-off, for as long as configured.
func (s *Server) awaitLegacy(ctx context.Context) (clusterID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Legacy.StartTimeout)
	defer cancel()
	topo := proxy.NewTopology(s.cfg.Legacy.Bootstrap, "switchback-start", s.log)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if err = topo.Refresh(ctx); err == nil && topo.Snapshot().ClusterID != "" {
			return topo.Snapshot().ClusterID, nil
		}
		if ctx.Err() == nil {
			s.log.Warn("legacy does not answer yet", "bootstrap", s.cfg.Legacy.Bootstrap, "error", err, "again in", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return "", &admin.Error{Op: "reach legacy", Subject: strings.Join(s.cfg.Legacy.Bootstrap, ","), Code: admin.CodeNoLegacy,
					Text: fmt.Sprintf("no answer within %s: %v", s.cfg.Legacy.StartTimeout, err),
					Hint: "check legacy.bootstrap in the configuration, and that the cluster runs"}
			}
			return "", ctx.Err()
		}
	}
}

// openFolder opens what the data folder holds, and takes ownership on legacy.
func (s *Server) openFolder(ctx context.Context, adopt bool) error {
	var err error
	engine := storage.Config{Dir: s.cfg.Data, ClusterID: s.clusterID, Logger: s.log}
	if o := s.cfg.Objects; o.Bucket != "" {
		s.objects, err = object.OpenS3(ctx, object.S3Config{
			Bucket: o.Bucket, Prefix: o.Prefix, Endpoint: o.Endpoint, Region: o.Region, PathStyle: o.PathStyle,
		})
		if err != nil {
			return &admin.Error{Op: "open object store", Subject: o.Bucket, Code: admin.CodeStorage, Text: err.Error(),
				Hint: "check objects in the configuration, and the keys in the environment"}
		}
		engine.Store, engine.StoreName = s.objects, "s3://"+o.Bucket+"/"+strings.Trim(o.Prefix, "/")
	}
	if s.engine, err = storage.Open(engine); err != nil {
		return err
	}
	s.catalog = s.engine.Catalog()
	if s.owner, err = openOwnership(s.catalog, s.cfg.Legacy.OwnerTopic, s.cfg.Legacy.Bootstrap); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Legacy.StartTimeout)
	defer cancel()
	s.owned, err = s.owner.take(ctx, adopt)
	return err
}

// assemble makes the parts and introduces them to each other. Nothing runs yet.
func (s *Server) assemble() error {
	var err error
	s.broker, err = broker.New(s.engine, s.catalog, broker.Config{
		NodeID: s.cfg.TargetNode, ClusterID: s.clusterID, Dir: s.cfg.Data, Logger: s.log,
	})
	if err != nil {
		return err
	}
	l := &legacy{}
	s.mirror, err = mirror.New(mirror.Config{
		Wants: func(name string, internal bool) bool {
			return !internal && name != s.cfg.Legacy.OwnerTopic && s.cfg.Topics.Match(name)
		},
		Logger: s.log,
	}, l, &store{engine: s.engine, broker: s.broker})
	if err != nil {
		return err
	}
	s.proxy, err = proxy.New(proxy.Config{
		Listen: s.cfg.Listen, AdvertisedHost: s.cfg.AdvertisedHost, TargetNode: s.cfg.TargetNode,
		Ports: &ports{cat: s.catalog, from: s.cfg.Ports}, Bootstrap: s.cfg.Legacy.Bootstrap,
		CopyStopped: s.cfg.Copy.Stopped, OnCopyStopped: s.copyStopped, OnLostUpstream: s.lostUpstream,
		Logger: s.log,
	}, target{s.broker}, s.mirror)
	if err != nil {
		return err
	}
	l.topology = s.proxy.Topology()
	s.world = &world{mirror: s.mirror, broker: s.broker, engine: s.engine, proxy: s.proxy, owner: s.owner}
	if s.view, err = view.New(view.Limits{}); err != nil {
		return err
	}
	s.assemblePlans()
	return nil
}

// run starts every part and returns when clients can be served.
func (s *Server) run(ctx context.Context) error {
	if err := s.proxy.Topology().Refresh(ctx); err != nil {
		return fmt.Errorf("read legacy's metadata: %w", err)
	}
	if err := s.restore(ctx); err != nil {
		return err
	}
	s.group, ctx = errgroup.WithContext(ctx)
	failed := ctx.Done()
	s.spawn(ctx, "proxy", s.proxy.Run)
	s.spawn(ctx, "mirror", s.mirror.Run)
	s.spawn(ctx, "agent", s.agent.Run)
	s.spawn(ctx, "tend", s.runner.Tend)
	s.spawn(ctx, "view", s.feed)
	s.spawn(ctx, "admin", func(ctx context.Context) error {
		return admin.Serve(ctx, s.admin, s.Backend(), s.log)
	})
	s.spawn(ctx, "storage", s.watchStorage)
	s.spawn(ctx, "retention", s.broker.Retain)
	select {
	case <-s.proxy.Ready():
		s.log.Info("serving", "bootstrap", s.proxy.Addr(), "admin", s.AdminAddr(), "legacy", s.clusterID, "owner", s.owned.ID, "start", s.owned.Incarnation)
		return nil
	case <-failed:
		return s.group.Wait()
	}
}

// spawn runs one part until ctx ends; a part that ends before is a failure.
func (s *Server) spawn(ctx context.Context, name string, run func(context.Context) error) {
	s.group.Go(func() error {
		err := run(ctx)
		if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) { // ended from outside, by a deadline too
			return nil
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		return fmt.Errorf("run %s: %w", name, err)
	})
}

// watchStorage ends the process when the log cannot be written any more: nothing
// that is not durable may be acknowledged, and a start recovers what is.
func (s *Server) watchStorage(ctx context.Context) error {
	select {
	case <-s.engine.Dead():
		return &admin.Error{Op: "write log", Subject: s.cfg.Data, Text: s.engine.Err().Error(), Code: admin.CodeStorage,
			Hint: "look at the disk of the data folder; what was acknowledged is durable, and a start recovers it"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lostUpstream tells the mirror that requests of a dead connection may be late.
func (s *Server) lostUpstream(node int32, at time.Time) {
	s.mirror.Disturbed(node, at, leastQuiet)
}

// copyStopped is told that a read waited for the copy in vain: its partition is
// relocated, so that clients read where it is written.
func (s *Server) copyStopped(p offsets.Partition) { s.runner.CopyStopped(p) }

// closeParts closes what start opened, in the reverse order.
func (s *Server) closeParts() {
	var errs []error
	if s.broker != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		errs = append(errs, s.broker.Close(ctx))
		cancel()
	}
	if s.owner != nil {
		s.owner.close()
	}
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	if s.objects != nil {
		errs = append(errs, s.objects.Close())
	}
	if s.admin != nil {
		if err := s.admin.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Warn("closing left errors", "error", err)
	}
}

// Addr is the bootstrap address for clients, host:port.
func (s *Server) Addr() string { return s.proxy.Addr() }

// AdminAddr is the address for commands, host:port.
func (s *Server) AdminAddr() string { return s.admin.Addr().String() }

// Wait returns when the server has stopped, with the error that stopped it, nil
// after Close or the end of Start's context.
func (s *Server) Wait() error {
	<-s.ended
	return operatorError(s.err)
}

// Close stops the server and waits for it.
func (s *Server) Close() error {
	s.stop()
	return s.Wait()
}
