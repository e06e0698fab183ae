package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Objects of a bucket, below its prefix:
//
//	<epoch>/files/<sha256>      a file's bytes
//	<epoch>/<seq>.manifest      which files a checkpoint consists of
//
// Epoch and seq are 16 hex digits: names sort as checkpoints were made. A
// manifest is written last, so a checkpoint is there as a whole or not at all.

// manifestVersion is the version of Manifest's form.
const manifestVersion = 1

// manifestBytesMax bounds what is read of a manifest.
const manifestBytesMax = 16 << 20

// Manifest says what a checkpoint consists of.
type Manifest struct {
	Version int       `json:"version"`
	Epoch   uint64    `json:"epoch"` // of the daemon's run
	Seq     uint64    `json:"seq"`   // within the run
	Created time.Time `json:"created"`
	Program string    `json:"program"` // version of cdcd that made it
	Files   []File    `json:"files"`
	// Keeps are pipelines whose connectors keep values and of which the copy has a
	// checkpoint; nil where that is not known, of a copy that an earlier cdcd made.
	// Lacks are those of which it has none: they begin, or their state was lost.
	Keeps []string `json:"keeps"`
	Lacks []string `json:"lacks,omitempty"`
}

// File is one file of a checkpoint.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex; the object's name
}

// Bytes is the size of all files.
func (m *Manifest) Bytes() (sum int64) {
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}

// keepsAny reports whether the copy has, or may have, one of the pipelines.
func (m *Manifest) keepsAny(names []string) bool {
	return len(names) > 0 && (m.Keeps == nil || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(m.Keeps, n) }))
}

// ID names the checkpoint: "epoch/seq".
func (m *Manifest) ID() string { return id{m.Epoch, m.Seq}.String() }

// id is a checkpoint's place in the order of all.
type id struct{ epoch, seq uint64 }

func (i id) String() string { return fmt.Sprintf("%016x/%016x", i.epoch, i.seq) }

func (i id) key() string { return i.String() + ".manifest" }

func (i id) before(j id) bool { return i.epoch < j.epoch || i.epoch == j.epoch && i.seq < j.seq }

func epochDir(epoch uint64) string { return fmt.Sprintf("%016x/", epoch) }

func fileKey(epoch uint64, sum string) string { return epochDir(epoch) + "files/" + sum }

// parseKey reads an object's key: that of a manifest, or of a file.
func parseKey(key string) (i id, sum string, ok bool) {
	epoch, rest, found := strings.Cut(key, "/")
	var err error
	if i.epoch, err = strconv.ParseUint(epoch, 16, 64); !found || err != nil || len(epoch) != 16 {
		return id{}, "", false
	}
	if sum, found = strings.CutPrefix(rest, "files/"); found {
		return i, sum, isSum(sum)
	}
	seq, found := strings.CutSuffix(rest, ".manifest")
	if i.seq, err = strconv.ParseUint(seq, 16, 64); !found || err != nil || len(seq) != 16 {
		return id{}, "", false
	}
	return i, "", true
}

func isSum(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

// encode gives the manifest as JSON, and behind it the sum of that.
func (m *Manifest) encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return fmt.Appendf(text, "\n%x\n", sum), nil
}

var errManifest = errors.New("the manifest is damaged")

// decodeManifest reads what encode gave, and trusts nothing in it.
func decodeManifest(p []byte, want id) (*Manifest, error) {
	text, rest, ok := bytes.Cut(p, []byte("\n"))
	sum := sha256.Sum256(text)
	if !ok || string(rest) != hex.EncodeToString(sum[:])+"\n" {
		return nil, errManifest
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errManifest, err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("its manifest has version %d, this cdcd knows %d", m.Version, manifestVersion)
	}
	if m.Epoch != want.epoch || m.Seq != want.seq || len(m.Files) == 0 {
		return nil, errManifest
	}
	for _, f := range m.Files {
		if f.Name == "" || strings.ContainsAny(f.Name, `/\`) || f.Name == "." || f.Name == ".." || f.Size < 0 || !isSum(f.SHA256) {
			return nil, fmt.Errorf("%w: file %.60q", errManifest, f.Name)
		}
	}
	return m, nil
}

// readManifest gets and checks one.
func readManifest(ctx context.Context, b Bucket, i id) (*Manifest, error) {
	r, err := b.Get(ctx, i.key())
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(r, manifestBytesMax))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return decodeManifest(p, i)
}

// listing is what a bucket has.
type listing struct {
	manifests []id            // the newest first
	files     map[string]bool // keys
}

// list looks at the whole bucket. Objects of others are left alone.
func list(ctx context.Context, b Bucket) (*listing, error) {
	l := &listing{files: map[string]bool{}}
	err := b.List(ctx, "", func(key string) error {
		switch i, sum, ok := parseKey(key); {
		case !ok:
		case sum == "":
			l.manifests = append(l.manifests, i)
		default:
			l.files[key] = true
		}
		return nil
	})
	slices.SortFunc(l.manifests, func(a, b id) int {
		switch {
		case b.before(a):
			return -1
		case a.before(b):
			return 1
		}
		return 0
	})
	return l, err
}

// highest returns the highest epoch that something is there of.
func (l *listing) highest() (epoch uint64) {
	for _, m := range l.manifests {
		epoch = max(epoch, m.epoch)
	}
	for key := range l.files {
		if i, _, ok := parseKey(key); ok {
			epoch = max(epoch, i.epoch)
		}
	}
	return epoch
}
