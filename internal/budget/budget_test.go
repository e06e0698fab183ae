package budget_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/budget"
)

func acquire(t *testing.T, s *budget.Share, n int64) *budget.Reservation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := s.Acquire(ctx, n)
	if err != nil {
		t.Fatalf("acquire %d with %d in use: %v", n, s.Used(), err)
	}
	return r
}

func refused(t *testing.T, s *budget.Share, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := s.Acquire(ctx, n); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("acquire %d with %d in use was let through: %v %v", n, s.Used(), r, err)
	}
}

func TestShareHasItsMinimum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		one, two := b.Share(20), b.Share(20)
		hog := acquire(t, one, 80) // its own 20 and all of the shared 60
		refused(t, one, 1)
		mine := acquire(t, two, 20) // the other's minimum is untouched
		refused(t, two, 1)
		hog.Release()
		hog.Release()                 // once is once
		acquire(t, two, 30).Release() // half of what is shared
		refused(t, two, 31)
		mine.Release()
		if one.Used() != 0 || two.Used() != 0 {
			t.Errorf("%d and %d bytes left over", one.Used(), two.Used())
		}
	})
}

func TestReservationWiderThanTheBudgetGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := budget.New(100).Share(10)
		big := acquire(t, s, 1000)
		refused(t, s, 1)
		big.Release()
		small := acquire(t, s, 10)
		refused(t, s, 1000)
		small.Release()
		acquire(t, s, 100).Release()
	})
}

// A share that stands still and takes all it gets leaves as much free as it
// took, and the next one likewise.
func TestHogsLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(1000)
		hogs := []*budget.Share{b.Share(100), b.Share(100)}
		other := b.Share(200)
		for i, want := range []int64{100 + 300, 100 + 150} {
			for range want {
				acquire(t, hogs[i], 1)
			}
			refused(t, hogs[i], 1)
		}
		// Of 600 beyond the minimums, 150 are left.
		first := acquire(t, other, 200)
		more := acquire(t, other, 75)
		refused(t, other, 1)
		more.Release()
		first.Release()
		acquire(t, other, 1000).Release() // alone, whatever the others hold
	})
}

// What was read may become larger than it was: nobody waits for that, and the
// next who acquires waits for both.
func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		s, other := b.Share(0), b.Share(0)
		r := acquire(t, s, 10)
		r.Resize(300)
		if s.Used() != 300 || r.Bytes() != 300 {
			t.Fatalf("%d used, %d held", s.Used(), r.Bytes())
		}
		refused(t, s, 1)
		small := acquire(t, other, 1)
		refused(t, other, 1)
		go r.Resize(20)
		more := acquire(t, other, 9) // waits for it
		more.Release()
		small.Release()
		r.Release()
		r.Resize(50) // is over
		if s.Used() != 0 || other.Used() != 0 {
			t.Fatalf("%d and %d left", s.Used(), other.Used())
		}
		var none *budget.Reservation
		none.Resize(5)
		none.Release()
	})
}

// A pipeline that ended gives its minimum back, as much as it took.
func TestCloseOfAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		one, two, three := b.Share(60), b.Share(60), b.Share(60) // the third gets all of its own on top
		hold := acquire(t, one, 60)
		refused(t, one, 1)
		three.Close()
		refused(t, one, 1)
		two.Close()
		two.Close()
		acquire(t, one, 20).Release() // half of the 40 that two had
		refused(t, one, 21)
		hold.Release()
		one.Close()
		if r := acquire(t, b.Share(0), 100); r.Bytes() != 100 {
			t.Fatal(r.Bytes())
		}
	})
}

func TestWaiterIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := budget.New(10).Share(0)
		held := acquire(t, s, 10)
		got := make(chan error, 1)
		go func() {
			r, err := s.Acquire(t.Context(), 5)
			if err == nil {
				r.Release()
			}
			got <- err
		}()
		synctest.Wait()
		held.Release()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingLeaks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := budget.New(1000)
		shares := []*budget.Share{b.Share(100), b.Share(300)}
		done, cancel := context.WithCancel(context.Background())
		cancel()
		var held []*budget.Reservation
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				held[0].Release()
				held = held[1:]
				continue
			}
			r, err := rapid.SampledFrom(shares).Draw(t, "share").Acquire(done, rapid.Int64Range(1, 400).Draw(t, "n"))
			if err == nil {
				held = append(held, r)
			}
			// One reservation for each share may go beyond the budget.
			if used := shares[0].Used() + shares[1].Used(); used > 1000+2*400 {
				t.Fatalf("%d of 1000 bytes in use", used)
			}
		}
		for _, r := range held {
			r.Release()
		}
		if r, err := shares[0].Acquire(done, 700); err != nil || r.Bytes() != 700 {
			t.Fatalf("after all was released, 700 bytes are refused: %v", err)
		}
	})
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := budget.NewLimiter(10, 1000)
		start := time.Now()
		for range 50 {
			if err := l.Rows(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 4*time.Second { // one second's worth is the burst
			t.Errorf("50 rows at 10 rows/s took %v", took)
		}
		start = time.Now()
		if err := l.Bytes(t.Context(), 5000); err != nil { // wider than the burst
			t.Fatal(err)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("5000 bytes at 1000 B/s took %v", took)
		}
		var none *budget.Limiter
		if err := none.Rows(t.Context(), 1<<30); err != nil {
			t.Errorf("no limiter limits: %v", err)
		}
	})
}
