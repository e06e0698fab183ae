package sdk

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/batch.hex anew: only for a new abi")

// The bytes of one small batch: the layout can't move unnoticed.
func TestGoldenBytes(t *testing.T) {
	var b strings.Builder
	p := seedBatch().Bytes()
	for i := 0; i < len(p); i += 16 {
		fmt.Fprintf(&b, "%04x  %s\n", i, hex.EncodeToString(p[i:min(i+16, len(p))]))
	}
	const path = "testdata/batch.hex"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("the layout moved: connectors built for abi 1 would break\n%s", b.String())
	}
}

// The offsets and numbers that the documents name are those of the code.
func TestDocumentsAgree(t *testing.T) {
	known := map[string]int{
		"magic": offMagic, "abi": offABI, "header_size": offHeaderSize, "flags": offFlags, "size": offSize, "capacity": offCapacity,
		"rows": offRows, "row_dir": offRowDir, "txs": offTxs, "tx_dir": offTxDir, "tx_stride": offTxStride, "first_row": offFirstRow,
		"large": offLarge, "batch_seq": offBatchSeq, "time": offTime,
		"tx.id": txID, "tx.file": txFile, "tx.pos_start": txPosStart, "tx.pos_end": txPosEnd, "tx.time": txTime, "tx.first_row": txFirstRow,
		"tx.rows": txRows, "tx.flags": txFlags, "tx.server": txServer, "tx.rows_before": txRowsBefore, "tx.rows_total": txRowsTotal,
		"row.op": rowOp, "row.flags": rowFlags, "row.schema": rowSchema, "row.tx": rowTx, "row.source": rowSource,
		"row.ordinal": rowOrdinal, "row.columns": rowColumns, "row.size": rowSize,
		"result.rows_done": 0, "result.verdicts_addr": 4, "result.verdicts_len": 8, "result.output_addr": 12, "result.output_len": 16,
		"result.reasons_addr": 20, "result.reasons_len": 24, "result.want": 28,
		"HEADER_SIZE": HeaderSize, "TX_STRIDE": TxStride, "ROW_HEADER_SIZE": RowHeaderSize, "DEST_SIZE": destSize, "RESULT_SIZE": ResultSize,
		"TX_BEGINS": int(TxBegins), "TX_ENDS": int(TxEnds), "ROW_BEFORE": int(RowBefore), "ROW_AFTER": int(RowAfter), "ROW_DEST": int(RowDest),
		"LARGE_BIT": LargeBit, "LARGE_BYTES_MIN": LargeBytesMin, "ERROR_BYTES_MAX": ErrorBytesMax,
		"BUF_CONFIG": int(BufConfig), "BUF_SCHEMA": int(BufSchema), "BUF_BATCH": int(BufBatch),
		"PASS": int(VerdictPass), "DROP": int(VerdictDrop), "EDITED": int(VerdictEdited), "REPLACED": int(VerdictReplaced), "DEAD_LETTER": int(VerdictDeadLetter),
		"OP_INSERT": int(OpInsert), "OP_UPDATE": int(OpUpdate), "OP_DELETE": int(OpDelete), "OP_READ": int(OpRead), "OP_TRUNCATE": int(OpTruncate),
		"NOT_FOUND": CapNotFound, "INVALID": CapInvalid, "TOO_LARGE": CapTooLarge, "NO_BATCH": CapNoBatch,
		"KV_KEY_BYTES_MAX": KVKeyBytesMax, "KV_VALUE_BYTES_MAX": KVValueBytesMax, "KV_SCAN_MAX": KVScanMax,
		"COUNTER": int(MetricCounter), "GAUGE": int(MetricGauge), "HISTOGRAM": int(MetricHistogram),
		"METRICS_MAX": MetricsMax, "METRIC_NAME_MAX": MetricNameMax, "METRIC_BUCKETS_MAX": MetricBucketsMax,
		"BAD_CONFIG": int(CodeBadConfig), "BAD_SCHEMA": int(CodeBadSchema), "BAD_BATCH": int(CodeBadBatch), "INTERNAL": int(CodeInternal),
	}
	for k := Type(1); k.Valid(); k++ {
		known["type."+k.String()] = int(k)
	}
	seen := map[string]bool{}
	for _, path := range []string{"../docs/design/batch-layout.md", "../docs/design/connector-abi.md"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			// rows of tables: | number | `name` | ...
			cells := strings.Split(s.Text(), "|")
			if len(cells) < 4 {
				continue
			}
			number, err := strconv.ParseInt(strings.TrimSpace(cells[1]), 0, 64)
			name := strings.Trim(strings.TrimSpace(cells[2]), "`")
			if err != nil {
				continue
			}
			want, ok := known[name]
			if !ok {
				t.Errorf("%s: %q is not known here", path, name)
			} else if int(number) != want {
				t.Errorf("%s: %s is %d, the code has %d", path, name, number, want)
			}
			seen[name] = true
		}
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("neither document has %s", name)
		}
	}
}
