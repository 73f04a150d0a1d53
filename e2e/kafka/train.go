package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"switchback/e2e/machine"
)

// Archives of loaded classes, one for servers and one for clients. A JVM that cannot use one ignores it.
const (
	serverArchive = "server.jsa"
	clientArchive = "client.jsa"
)

// train runs a small cluster and a producer once, and lets both write down on exit which classes they had loaded.
func (d *Distribution) train(ctx context.Context) error {
	unlock, err := machine.Lock(ctx, "train-"+filepath.Base(d.dir))
	if err != nil {
		return err
	}
	defer unlock()
	// The client's archive is written last: with it the training was complete.
	if _, err := os.Stat(filepath.Join(d.dir, clientArchive)); err == nil {
		return nil
	}
	work, err := os.MkdirTemp("", "switchback-train-")
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	defer os.RemoveAll(work)

	server := filepath.Join(work, serverArchive)
	client := filepath.Join(work, clientArchive)
	c, err := start(ctx, d, Options{
		Brokers: 1, Dir: filepath.Join(work, "cluster"),
		flags: []string{"-XX:ArchiveClassesAtExit=" + server}, // the last of controller and broker to end writes the one that stays
	})
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	err = d.trainClient(ctx, c, client)
	err = errors.Join(err, c.shutdown(time.Minute))
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for _, made := range []string{server, client} {
		if err := copyFile(made, filepath.Join(d.dir, filepath.Base(made))); err != nil {
			return fmt.Errorf("train: %w", err)
		}
	}
	return nil
}

func (d *Distribution) trainClient(ctx context.Context, c *Cluster, archive string) error {
	if err := c.CreateTopic(ctx, "train", 1, 1, nil); err != nil {
		return err
	}
	command := d.Command(JVM{
		Class: "org.apache.kafka.tools.VerifiableProducer",
		Args:  []string{"--bootstrap-server", c.Bootstrap(), "--topic", "train", "--max-messages", "10"},
		Flags: []string{"-XX:ArchiveClassesAtExit=" + archive},
	})
	said := machine.NewTail(4 << 10)
	command.Stdout, command.Stderr = said, said
	if err := machine.Run(ctx, command); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// copyFile copies across file systems, whole or not at all.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".half", content, 0o644); err != nil {
		return err
	}
	return os.Rename(to+".half", to)
}
