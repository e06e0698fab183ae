package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/sdk/consume"
)

func main() {
	url := flag.String("nats", nats.DefaultURL, "NATS server")
	bucket := flag.String("bucket", "shop", "bucket of the pipeline")
	listen := flag.String("listen", "127.0.0.1:8080", "where to answer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *bucket, *listen); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, bucket, listen string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	updates, err := kv.Watch(ctx, "shop.orders.>")
	if err != nil {
		return err
	}
	o := &orders{rows: map[string][]byte{}, complete: make(chan struct{})}
	go o.follow(updates)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", o.get)
	server := &http.Server{Addr: listen, Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	return server.ListenAndServe()
}

// orders is the table as it is now, by its primary key.
type orders struct {
	mu       sync.RWMutex
	rows     map[string][]byte // the row as JSON
	complete chan struct{}     // closed once everything is here that was there at the start
}

// follow takes in first every row, then each change.
func (o *orders) follow(updates jetstream.KeyWatcher) {
	for entry := range updates.Updates() {
		if entry == nil { // that was all, changes follow
			close(o.complete)
			continue
		}
		key, err := consume.ParseKey(entry.Key())
		if err != nil {
			log.Print(err)
			continue
		}
		o.mu.Lock()
		if entry.Operation() == jetstream.KeyValuePut {
			o.rows[key.Values[0]] = entry.Value()
		} else {
			delete(o.rows, key.Values[0])
		}
		o.mu.Unlock()
	}
}

func (o *orders) get(w http.ResponseWriter, r *http.Request) {
	select {
	case <-o.complete:
	case <-r.Context().Done():
		return
	}
	o.mu.RLock()
	row, ok := o.rows[r.PathValue("id")]
	o.mu.RUnlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(row) // the client is gone
}
