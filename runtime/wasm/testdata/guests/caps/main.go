// Command caps is a connector that uses its capabilities as each row says, for
// the host's tests. The row's second column holds commands, such as
// "put k v;get k", and takes what they gave.
package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/clock"
	"github.com/cdcd-io/cdcd/sdk/guest/kv"
	"github.com/cdcd-io/cdcd/sdk/guest/metrics"
	"github.com/cdcd-io/cdcd/sdk/guest/random"
	"github.com/cdcd-io/cdcd/sdk/guest/secret"
)

type caps struct {
	counter   metrics.Counter
	gauge     metrics.Gauge
	histogram metrics.Histogram
	garbage   [][]byte
}

func (c *caps) Init(config []byte) error {
	var err [3]error
	c.counter, err[0] = metrics.NewCounter("rows_total")
	c.gauge, err[1] = metrics.NewGauge("depth")
	c.histogram, err[2] = metrics.NewHistogram("size_bytes", 10, 100)
	if _, _, kverr := kv.Get([]byte("k")); kverr != kv.ErrNoBatch {
		return fmt.Errorf("kv in Init gave %v", kverr)
	}
	return errors.Join(err[:]...)
}

func (c *caps) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }

func (c *caps) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
	var said []string
	for _, command := range strings.Split(string(r.After().Bytes(1)), ";") {
		words := append(strings.Fields(command), "", "", "")
		text, err := c.do(words[0], words[1], words[2])
		if err != nil {
			return 0, err
		}
		said = append(said, text)
	}
	return sdk.VerdictEdited, r.After().SetBytes(1, []byte(strings.Join(said, ";")))
}

func (c *caps) do(command, a, b string) (string, error) {
	switch command {
	case "put":
		return "put", kv.Put([]byte(a), []byte(b))
	case "fill": // a key with a value of b bytes
		var n int
		fmt.Sscan(b, &n)
		return "put", kv.Put([]byte(a), make([]byte, n))
	case "delete":
		return "deleted", kv.Delete([]byte(a))
	case "get":
		v, ok, err := kv.Get([]byte(a))
		if len(v) > 100 {
			v = fmt.Append(nil, len(v), " bytes")
		}
		return fmt.Sprintf("%s %t", v, ok), err
	case "scan":
		text := ""
		err := kv.Scan([]byte(a), []byte(b), func(k, v []byte) bool {
			text += fmt.Sprintf("%s=%d,", k, len(v))
			return true
		})
		return text, err
	case "flood":
		for {
			if err := kv.Put([]byte(a), []byte(a)); err != nil {
				return "", err
			}
		}
	case "refuse":
		return "", errors.New("refused")
	case "panic":
		panic(a)
	case "count":
		c.counter.Add(1)
		c.counter.Add(-5) // does nothing
		c.gauge.Set(3)
		c.gauge.Add(-0.5)
		c.histogram.Observe(float64(len(a)))
		return "counted", nil
	case "declare":
		_, err := metrics.NewGauge(a)
		return fmt.Sprint(err != nil), nil
	case "declare_many":
		for n := range 100 {
			if _, err := metrics.NewCounter(fmt.Sprintf("many_%d", n)); err != nil {
				return fmt.Sprint(n), nil
			}
		}
		return "no end", nil
	case "wall":
		return fmt.Sprint(clock.Wall().UnixNano(), clock.Wall().Equal(time.Now())), nil
	case "monotonic":
		first := clock.Monotonic()
		time.Sleep(time.Hour)
		return fmt.Sprint(clock.Monotonic() - first), nil
	case "sleepers": // several goroutines that sleep, as a retry or a ticker would
		done := make(chan bool)
		for n := range 20 {
			go func() {
				for range 50 {
					time.Sleep(time.Duration(n) * time.Second)
				}
				done <- true
			}()
		}
		for range 20 {
			<-done
		}
		return "slept", nil
	case "churn": // garbage, with a look at the clock for each piece
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for n := range 20_000 {
			c.garbage = append(c.garbage[:0], make([]byte, 4<<10+n%7))
			_ = time.Now()
		}
		runtime.ReadMemStats(&after)
		return fmt.Sprint(after.NumGC-before.NumGC >= 3), nil
	case "random":
		return fmt.Sprintf("%x", random.Uint64()), nil
	case "secret":
		v, ok := secret.Get(a)
		return fmt.Sprint(len(v), ok, strings.HasPrefix(v, b)), nil
	}
	return "?", nil
}

var _ = guest.Register(&caps{})

func main() {}
