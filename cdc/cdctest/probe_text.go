package cdctest

import (
	"fmt"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

const accents = "Ünïcödé"

func texts() (out []Probe) {
	add := func(column string, values ...string) {
		out = append(out, Probe{Kind: "Text", Column: column, Type: sdk.TypeString, Values: same(values...)})
	}
	add("CHAR(1) CHARACTER SET utf8mb4", "", "a", "😀")
	add("CHAR(10) CHARACTER SET utf8mb4", "", "a", accents, "日本語", "😀", "a b", " a", "q' \" \\ \n\te")
	add("CHAR(255) CHARACTER SET utf8mb4", "", "a", strings.Repeat("😀", 255))
	add("VARCHAR(10) CHARACTER SET utf8mb4", "", " a ", accents, "日本語", "😀😀", "NULL", "a\x00b")
	add("VARCHAR(63) CHARACTER SET utf8mb4", strings.Repeat("😀", 63)) // 252 bytes: a length of one byte
	add("VARCHAR(64) CHARACTER SET utf8mb4", strings.Repeat("😀", 64)) // 256 bytes: a length of two
	add("VARCHAR(400) CHARACTER SET utf8mb4", "", strings.Repeat("é", 400))
	add("VARCHAR(16000) CHARACTER SET utf8mb4", strings.Repeat("é", 16000))
	add("TINYTEXT CHARACTER SET utf8mb4", "", accents, strings.Repeat("x", 255))
	add("TEXT CHARACTER SET utf8mb4", "", accents, strings.Repeat("x", 65535))
	add("MEDIUMTEXT CHARACTER SET latin1", accents, strings.Repeat("é", 70000))
	add("LONGTEXT CHARACTER SET utf8mb4", "", strings.Repeat("😀", 30000))
	add("NATIONAL VARCHAR(10)", accents)
	// CHAR loses the spaces at its end, VARCHAR keeps them.
	out[1].Values = append(out[1].Values, Value{SQL: "'a  '", Text: "a"})
	out = append(out,
		Probe{Kind: "Text", Column: "VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci", Flavor: MariaDB, Type: sdk.TypeString, Values: same("é😀")},
		Probe{Kind: "Text", Column: "VARCHAR(20) COLLATE latin1_swedish_nopad_ci", Flavor: MariaDB, Type: sdk.TypeString, Values: same("é ")},
		Probe{Kind: "Text", Column: "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", Flavor: MySQL, Type: sdk.TypeString, Values: same("é😀")},
		Probe{Kind: "Text", Column: "CHAR(20) COLLATE utf8mb4_ja_0900_as_cs_ks", Flavor: MySQL, Type: sdk.TypeString, Values: same("日本語")},
		Probe{Kind: "Text", Column: "VARCHAR(20) COLLATE utf8mb4_bin", Type: sdk.TypeString, Values: same("é😀")},
	)
	return out
}

// charsets has a column of every character set that either server offers.
func charsets() (out []Probe) {
	add := func(name string, values ...string) {
		out = append(out, Probe{Kind: "Character sets", Column: "VARCHAR(20) CHARACTER SET " + name, Type: sdk.TypeString,
			Values: append(same(values...), same("")...)})
	}
	add("ascii", "plain")
	add("armscii8", "Հայերեն")
	add("big5", "中文", "a中b")
	add("cp1250", "žluťoučký")
	add("cp1251", "Привет", "№")
	add("cp1256", "مرحبا")
	add("cp1257", "ąčęėį")
	add("cp850", "é░▒")
	add("cp852", "žluť")
	add("cp866", "Привет")
	add("cp932", "日本語①", "～")
	add("dec8", "éŒ")
	add("eucjpms", "日本語①")
	add("euckr", "한국어")
	add("gb2312", "中文")
	add("gbk", "中文", "a中b")
	add("geostd8", "საქართველო")
	add("greek", "Γειά")
	add("hebrew", "שלום")
	add("hp8", "éß")
	add("keybcs2", "žluť")
	add("koi8r", "Привет")
	add("koi8u", "Привіт")
	add("latin1", accents, "€uro")
	add("latin2", "žlutý")
	add("latin5", "ığş")
	add("latin7", "ąčęė")
	add("macce", "žluť")
	add("macroman", "é∂")
	add("sjis", "日本語カﾅ", "表示")
	add("swe7", "ÅÄÖåäöÉ")
	add("tis620", "สวัสดี")
	add("ucs2", accents, "日本語")
	add("ujis", "日本語カﾅ")
	add("utf16", accents, "日本語😀")
	add("utf16le", accents, "日本語😀")
	add("utf32", accents, "日本語😀")
	add("utf8mb3", accents, "日本語")
	add("utf8mb4", accents, "日本語😀")
	out = append(out, Probe{Kind: "Character sets", Column: "VARCHAR(20) CHARACTER SET gb18030", Flavor: MySQL, Type: sdk.TypeString, Values: same("中文😀é")})
	for i := range out {
		switch out[i].Column {
		case "VARCHAR(20) CHARACTER SET latin1": // it is cp1252, with C1 controls where that has nothing
			out[i].Values = append(out[i].Values, pairs("_latin1 x'818d8f909d'", "\u0081\u008d\u008f\u0090\u009d", "_latin1 x'80ff'", "€ÿ")...)
		case "VARCHAR(20) CHARACTER SET sjis":
			out[i].Refused = []string{"_sjis x'8740'"} // well-formed, and no character
		case "VARCHAR(20) CHARACTER SET gbk":
			out[i].Refused = []string{"_gbk x'fe50'"}
		case "VARCHAR(20) CHARACTER SET cp1250":
			out[i].Refused = []string{"_cp1250 x'81'"}
		}
	}
	return append(out,
		Probe{Kind: "Character sets", Column: "CHAR(10) CHARACTER SET latin1", Type: sdk.TypeString, Values: same(accents, "")},
		Probe{Kind: "Character sets", Column: "CHAR(20) CHARACTER SET utf16", Type: sdk.TypeString, Values: same(accents, "日本語😀", "")},
		Probe{Kind: "Character sets", Column: "TEXT CHARACTER SET gbk", Type: sdk.TypeString, Values: same("中文")},
	)
}

// choices are ENUM and SET.
func choices() (out []Probe) {
	add := func(column string, t sdk.Type, values []Value) Probe {
		return Probe{Kind: "ENUM and SET", Column: column, Type: t, Values: values}
	}
	out = []Probe{
		add("ENUM('a','b','ünï','it''s','x,y','','NULL') CHARACTER SET utf8mb4", sdk.TypeEnum,
			append(same("a", "ünï", "it's", "x,y", "", "NULL"), pairs("'nonesuch'", "", "2", "b")...)),
		add("ENUM('é','b') CHARACTER SET latin1", sdk.TypeEnum, same("é", "b")),
		add("ENUM('日本','語') CHARACTER SET sjis", sdk.TypeEnum, same("日本", "語")),
		add("ENUM('é','日') CHARACTER SET utf16", sdk.TypeEnum, same("é", "日")),
		add("ENUM("+labels(255)+")", sdk.TypeEnum, same("l0", "l254")),
		add("ENUM("+labels(300)+")", sdk.TypeEnum, same("l0", "l254", "l255", "l299")),
		add("SET('a','b','ü') CHARACTER SET latin1", sdk.TypeSet, append(same("", "a", "a,b", "a,b,ü"), pairs("'ü,a'", "a,ü", "'a,a'", "a")...)),
		add("SET('one')", sdk.TypeSet, same("", "one")),
		add("SET("+labels(9)+")", sdk.TypeSet, same("l0,l8", "l7")),
		add("SET("+labels(33)+")", sdk.TypeSet, same("l0,l32", "l31")),
		add("SET("+labels(64)+")", sdk.TypeSet, pairs("18446744073709551615", strings.ReplaceAll(labels(64), "'", ""), "1", "l0", "1<<63", "l63")),
	}
	// The servers' catalogs are in utf8mb3, and have a question mark there.
	wide := add("ENUM('é','😀') CHARACTER SET utf8mb4", sdk.TypeEnum, same("é", "😀"))
	wide.FullOnly = true
	return append(out, wide)
}

// labels lists n labels, quoted.
func labels(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("'l%d'", i)
	}
	return strings.Join(out, ",")
}
