package consume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// claimed publishes a row whose body is an object, as cdcd does, and returns the
// body.
func (w *writer) claimed(store jetstream.ObjectStore, name string, size int) []byte {
	w.t.Helper()
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if _, err := store.PutBytes(w.t.Context(), name, body); err != nil {
		w.t.Fatal(err)
	}
	w.counter++
	sum := sha256.Sum256(body)
	w.publish("cdc.shop.shop.big", `{"claim":{}}`, map[string]string{"Cdc-Pos": fmt.Sprintf("t:%d#0.0/1#0", w.counter), "Cdc-Seq": fmt.Sprint(w.counter), "Cdc-Tx-Last": "1",
		"Cdc-Subject-Last": "1", "Cdc-Claim": "SHOP_CLAIMS/" + name, "Cdc-Claim-Digest": "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:]), "Cdc-Claim-Bytes": fmt.Sprint(len(body))})
	return body
}

func claimStream(t *testing.T) (*nats.Conn, *writer, jetstream.ObjectStore) {
	t.Helper()
	nc := testserver.NATS(t).Conn(t)
	w := newWriter(t, nc)
	store, err := w.js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "SHOP_CLAIMS"})
	if err != nil {
		t.Fatal(err)
	}
	return nc, w, store
}

func TestClaims(t *testing.T) {
	nc, w, store := claimStream(t)
	w.tx("t:1", "small")
	small := w.claimed(store, "a", 160)
	large := w.claimed(store, "b", 3<<20)
	w.tx("t:4", "small")
	for _, narrow := range []bool{false, true} {
		c := Config{Stream: "SHOP", UntilCaughtUp: true}
		if narrow {
			c.Narrow, c.Subjects = true, []string{"cdc.shop.shop.big"}
		}
		r, err := Open(t.Context(), nc, c)
		if err != nil {
			t.Fatal(err)
		}
		var got [][]byte
		if err := r.Run(t.Context(), func(_ context.Context, tx *Tx) error {
			for _, m := range tx.Messages {
				if m.Claim != nil {
					got = append(got, m.Body)
					if m.Claim.Bytes != len(m.Body) || m.Claim.Bucket != "SHOP_CLAIMS" || m.Claim.Digest != sha256.Sum256(m.Body) {
						t.Errorf("%+v of %d bytes", m.Claim, len(m.Body))
					}
				} else if m.Subject != "cdc.shop.shop.small" {
					t.Errorf("%s has no claim", m.Subject)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || !bytes.Equal(got[0], small) || !bytes.Equal(got[1], large) {
			t.Errorf("narrow %v: %d bodies", narrow, len(got))
		}
	}
}

// What is not the body that was written is never handed out.
func TestClaimFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, w *writer, store jetstream.ObjectStore)
		want  error
	}{
		"deleted": {func(t *testing.T, _ *writer, s jetstream.ObjectStore) { must(t, s.Delete(t.Context(), "a")) }, ErrClaimGone},
		"bucket deleted": {func(t *testing.T, w *writer, _ jetstream.ObjectStore) {
			must(t, w.js.DeleteObjectStore(t.Context(), "SHOP_CLAIMS"))
		}, ErrClaimGone},
		"chunk lost": {func(t *testing.T, w *writer, s jetstream.ObjectStore) {
			st, err := w.js.Stream(t.Context(), "OBJ_SHOP_CLAIMS")
			must(t, err)
			must(t, st.DeleteMsg(t.Context(), 2))
		}, ErrClaimGone},
		"other content": {func(t *testing.T, _ *writer, s jetstream.ObjectStore) {
			_, err := s.PutBytes(t.Context(), "a", bytes.Repeat([]byte("x"), 300<<10/16*16))
			must(t, err)
		}, ErrClaimDamaged},
		"other length": {func(t *testing.T, _ *writer, s jetstream.ObjectStore) {
			_, err := s.PutBytes(t.Context(), "a", []byte("x"))
			must(t, err)
		}, ErrClaimDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			nc, w, store := claimStream(t)
			w.claimed(store, "a", 300<<10)
			tt.spoil(t, w, store)
			r, err := Open(t.Context(), nc, Config{Stream: "SHOP", UntilCaughtUp: true})
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err = r.Run(ctx, func(_ context.Context, tx *Tx) error {
				t.Errorf("%d rows were handed out", len(tx.Messages))
				return nil
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func TestParseClaim(t *testing.T) {
	sum := "SHA-256=" + base64.URLEncoding.EncodeToString(make([]byte, 32))
	good := nats.Header{"Cdc-Claim": {"b/n/m"}, "Cdc-Claim-Digest": {sum}, "Cdc-Claim-Bytes": {"7"}}
	if c, err := parseClaim(good); err != nil || c.Bucket != "b" || c.Name != "n/m" || c.Bytes != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := parseClaim(nats.Header{}); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for key, bad := range map[string][]string{"Cdc-Claim": {"b", "/n", "b/"}, "Cdc-Claim-Digest": {"", "SHA-256=", "SHA-256=!", sum + "AA"},
		"Cdc-Claim-Bytes": {"", "-1", "x", "999999999999"}} {
		for _, v := range bad {
			h := nats.Header{}
			for k := range good {
				h.Set(k, good.Get(k))
			}
			h.Set(key, v)
			if c, err := parseClaim(h); !errors.Is(err, ErrForeign) {
				t.Errorf("%s %q: %+v, %v", key, v, c, err)
			}
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
