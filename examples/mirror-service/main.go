package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/sdk/consume"
)

func main() {
	url := flag.String("nats", nats.DefaultURL, "NATS server")
	stream := flag.String("stream", "SHOP", "stream of the pipeline")
	subject := flag.String("subject", "cdc.shop.shop.orders", "subject of the table")
	file := flag.String("file", "mirror.json", "where the copy is kept")
	until := flag.Bool("until-caught-up", false, "end when everything is read that the stream has now")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *url, *file, consume.Config{Stream: *stream, Subjects: []string{*subject}, UntilCaughtUp: *until})
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// order is a row of the table; the fields that a service needs are enough.
type order struct {
	ID     int64  `json:"id"`
	Status string `json:"status"`
	Total  string `json:"total"` // a decimal: exact as a string
}

// mirror is the copy, and how far in the stream it is: both in one file, so
// that they can't disagree.
type mirror struct {
	Mark consume.Mark    `json:"mark"`
	Rows map[int64]order `json:"rows"`
}

func run(ctx context.Context, url, file string, c consume.Config) error {
	m, err := load(file)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	c.From = m.Mark
	r, err := consume.Open(ctx, nc, c)
	if err != nil {
		return err
	}
	return r.Run(ctx, func(_ context.Context, tx *consume.Tx) error {
		for _, row := range tx.Messages {
			change, err := consume.Decode[order](row)
			if err != nil {
				return err
			}
			m.apply(change)
		}
		m.Mark = tx.Mark
		return m.save(file)
	})
}

// apply does to the copy what was done to the table. An update may have changed
// the key.
func (m *mirror) apply(c consume.Change[order]) {
	if c.Op == consume.Truncate {
		clear(m.Rows)
	}
	if c.Before != nil {
		delete(m.Rows, c.Before.ID)
	}
	if c.After != nil {
		m.Rows[c.After.ID] = *c.After
	}
}

func load(file string) (*mirror, error) {
	m := &mirror{Rows: map[int64]order{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, m)
	}
	if err != nil {
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	return m, nil
}

// save replaces the file in one step: there is always a whole one.
func (m *mirror) save(file string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
