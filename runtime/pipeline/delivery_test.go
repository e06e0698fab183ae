package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
)

func TestDeliveries(t *testing.T) {
	const ms = time.Millisecond
	var d deliveries
	if diff := cmp.Diff(Delivery{}, d.delivery()); diff != "" {
		t.Errorf("nothing delivered (-want +got):\n%s", diff)
	}
	d.note(-ms) // a clock that was set back
	for i := range 9 {
		d.note(time.Duration(9-i) * ms)
	}
	want := Delivery{Batches: 10, Sum: 45 * ms, Last: ms, P50: 4 * ms, P99: 8 * ms}
	if diff := cmp.Diff(want, d.delivery()); diff != "" {
		t.Errorf("ten batches (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, d.delivery()); diff != "" {
		t.Errorf("asked again (-want +got):\n%s", diff)
	}
	for range deliveriesKept { // what was before is forgotten, but not its sum
		d.note(2 * ms)
	}
	want = Delivery{Batches: 10 + deliveriesKept, Sum: (45 + 2*deliveriesKept) * ms, Last: 2 * ms, P50: 2 * ms, P99: 2 * ms}
	if diff := cmp.Diff(want, d.delivery()); diff != "" {
		t.Errorf("after %d more (-want +got):\n%s", deliveriesKept, diff)
	}
	if n := testing.AllocsPerRun(100, func() { d.note(ms) }); n != 0 {
		t.Errorf("note allocates %v times", n)
	}
}

// Lag is of the commit time and grows while the sink doesn't answer; delivery
// is of the reading, and only of what is delivered.
func TestLagAndDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newWorld().rig(t, cdctest.Script{Txs: txs(1)}, nil)
		rig.sink.stuck = true
		time.Sleep(time.Hour) // the log is an hour old when reading begins
		r := start(t, rig)
		time.Sleep(time.Minute)
		if s := r.p.Status(); s.Lag != time.Hour+time.Minute || s.Delivery.Batches != 0 {
			t.Errorf("unconfirmed for a minute: lag %v, delivery %+v", s.Lag, s.Delivery)
		}
		rig.sink.unstick()
		synctest.Wait()
		want := Delivery{Batches: 1, Sum: time.Minute, Last: time.Minute, P50: time.Minute, P99: time.Minute}
		time.Sleep(time.Second)
		if s := r.p.Status(); s.Lag != time.Hour+time.Minute || s.Delivery != want {
			t.Errorf("confirmed, then quiet for a second: lag %v, delivery %+v", s.Lag, s.Delivery)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
	})
}
