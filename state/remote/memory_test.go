package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/state/remote"
)

// memory is a Bucket in memory whose every call can be made to fail.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	fail    func(op, key string) error
	puts    []string
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) Where() string { return "memory" }

func (m *memory) failing(op, key string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op, key)
}

func (m *memory) Put(_ context.Context, key string, body io.ReadSeeker, size int64, once bool) error {
	p, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("put", key); err != nil {
		return err
	}
	if int64(len(p)) != size {
		return fmt.Errorf("%s: %d bytes, said %d", key, len(p), size)
	}
	if _, there := m.objects[key]; there && once {
		return fault.New(fault.Environment, remote.CodeTaken, key, "", "taken")
	}
	m.objects[key] = p
	m.puts = append(m.puts, key)
	return nil
}

func (m *memory) Get(_ context.Context, key string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("get", key); err != nil {
		return nil, err
	}
	p, ok := m.objects[key]
	if !ok {
		return nil, fault.New(fault.Environment, remote.CodeMissing, key, "", "no such object")
	}
	return io.NopCloser(bytes.NewReader(p)), nil
}

func (m *memory) List(_ context.Context, prefix string, f func(string) error) error {
	m.mu.Lock()
	err := m.failing("list", prefix)
	keys := slices.Sorted(maps.Keys(m.objects))
	m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) {
			if err := f(k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("delete", key); err != nil {
		return err
	}
	delete(m.objects, key)
	return nil
}

func (m *memory) keys(contain string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.objects)), func(k string) bool { return !strings.Contains(k, contain) })
}

// deaf writes what is written once twice, as a client does that had no answer.
type deaf struct{ *memory }

func (d *deaf) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, once bool) error {
	err := d.memory.Put(ctx, key, body, size, once)
	if once && err == nil {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return d.memory.Put(ctx, key, body, size, once)
	}
	return err
}

// hanging lets uploads wait for the end of their context.
type hanging struct {
	*memory
	entered chan struct{}
}

func (h *hanging) Put(ctx context.Context, key string, _ io.ReadSeeker, _ int64, _ bool) error {
	select {
	case h.entered <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return errors.Join(fmt.Errorf("put %s", key), ctx.Err())
}
