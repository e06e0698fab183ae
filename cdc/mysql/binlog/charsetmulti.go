package binlog

// overrides returns where a multi-byte character set of MySQL and MariaDB
// differs from the WHATWG's table that golang.org/x/text has: runs
// "first-last=rune" of sequences that stand for consecutive code points, in
// order, without "-last" for one sequence, and without "=rune" where the server
// has no character and the sequence must not be read. The answers are those of
// MySQL 9.7 and MariaDB 10.11, which agree; TestCharsets asks them again.
func overrides(charset string) string {
	switch charset {
	case "big5":
		return "8740-a0fe a145=2022 a14e=ff64 a15a a1c2=203e a1c3 a1c5 a1e3=223c a1f2=2641 a1f3=2609 a1fe-a240 " +
			"a241=ff0f a242=ff3c a244=a5 a246-a247=a2 a2cc a2ce a3c0-a3e1 c6a1=30fe c6a2-c6a3=309d c6a4=3005 " +
			"c6a5-c6f7=3041 c6f8-c6fe=30a1 c740-c77e=30a8 c7a1-c7b0=30e7 c7b1-c7b2=414 c7b3=401 c7b4-c7ba=416 " +
			"c7bb-c7cd=423 c7ce=451 c7cf-c7e8=436 c7e9-c7f2=2460 c7f3-c7fc=2474 c7fd-c8fe f9dd-fefe"
	case "cp932":
		return "f040-f07e=e000 f080-f0fc=e03f f140-f17e=e0bc f180-f1fc=e0fb f240-f27e=e178 f280-f2fc=e1b7 " +
			"f340-f37e=e234 f380-f3fc=e273 f440-f47e=e2f0 f480-f4fc=e32f f540-f57e=e3ac f580-f5fc=e3eb " +
			"f640-f67e=e468 f680-f6fc=e4a7 f740-f77e=e524 f780-f7fc=e563 f840-f87e=e5e0 f880-f8fc=e61f " +
			"f940-f97e=e69c f980-f9fc=e6db"
	case "eucjpms":
		return "f5a1-f5fe=e000 f6a1-f6fe=e05e f7a1-f7fe=e0bc f8a1-f8fe=e11a f9a1-f9fe=e178 faa1-fafe=e1d6 " +
			"fba1-fbfe=e234 fca1-fcfe=e292 fda1-fdfe=e2f0 fea1-fefe=e34e 8fa2c3=ffe4 8ff3f3-8ff3fc=2170 " +
			"8ff3fd-8ff3fe=2160 8ff4a1-8ff4a8=2162 8ff4a9=ff07 8ff4aa=ff02 8ff4ab=3231 8ff4ac=2116 8ff4ad=2121 " +
			"8ff4ae=70bb 8ff4af=4efc 8ff4b0=50f4 8ff4b1=51ec 8ff4b2=5307 8ff4b3=5324 8ff4b4=fa0e 8ff4b5=548a " +
			"8ff4b6=5759 8ff4b7-8ff4b8=fa0f 8ff4b9=589e 8ff4ba=5bec 8ff4bb=5cf5 8ff4bc=5d53 8ff4bd=fa11 " +
			"8ff4be=5fb7 8ff4bf=6085 8ff4c0=6120 8ff4c1=654e 8ff4c2=663b 8ff4c3=6665 8ff4c4=fa12 8ff4c5=f929 " +
			"8ff4c6=6801 8ff4c7-8ff4c8=fa13 8ff4c9=6a6b 8ff4ca=6ae2 8ff4cb=6df8 8ff4cc=6df2 8ff4cd=7028 " +
			"8ff4ce-8ff4cf=fa15 8ff4d0=7501 8ff4d1=7682 8ff4d2=769e 8ff4d3=fa17 8ff4d4=7930 8ff4d5-8ff4d8=fa18 " +
			"8ff4d9=7ae7 8ff4da-8ff4db=fa1c 8ff4dc=7da0 8ff4dd=7dd6 8ff4de=fa1e 8ff4df=8362 8ff4e0=fa1f " +
			"8ff4e1=85b0 8ff4e2-8ff4e3=fa20 8ff4e4=8807 8ff4e5=fa22 8ff4e6=8b7f 8ff4e7=8cf4 8ff4e8=8d76 " +
			"8ff4e9-8ff4eb=fa23 8ff4ec=90de 8ff4ed=fa26 8ff4ee=9115 8ff4ef-8ff4f0=fa27 8ff4f1=9592 8ff4f2=f9dc " +
			"8ff4f3=fa29 8ff4f4=973b 8ff4f5=974d 8ff4f6=9751 8ff4f7-8ff4f9=fa2a 8ff4fa=999e 8ff4fb=9ad9 " +
			"8ff4fc=9b72 8ff4fd=fa2d 8ff4fe=9ed1 8ff5a1-8ff5fe=e3ac 8ff6a1-8ff6fe=e40a 8ff7a1-8ff7fe=e468 " +
			"8ff8a1-8ff8fe=e4c6 8ff9a1-8ff9fe=e524 8ffaa1-8ffafe=e582 8ffba1-8ffbfe=e5e0 8ffca1-8ffcfe=e63e " +
			"8ffda1-8ffdfe=e69c 8ffea1-8ffefe=e6fa"
	case "gb18030":
		return "a140-a17e=e4c6 a180-a1a0=e505 a240-a27e=e526 a280-a2a0=e565 a2ab-a2b0=e766 a2e4=e76d a2ef-a2f0=e76e " +
			"a2fd-a2fe=e770 a340-a37e=e586 a380-a3a0=e5c5 a440-a47e=e5e6 a480-a4a0=e625 a4f4-a4fe=e772 " +
			"a540-a57e=e646 a580-a5a0=e685 a5f7-a5fe=e77d a640-a67e=e6a6 a680-a6a0=e6e5 a6b9-a6c0=e785 " +
			"a6d9-a6df=e78d a6ec-a6ed=e794 a6f3=e796 a6f6-a6fe=e797 a740-a77e=e706 a780-a7a0=e745 a7c2-a7d0=e7a0 " +
			"a7f2-a7fe=e7af a896-a8a0=e7bc a8bc=1e3f a8c1-a8c4=e7c9 a8ea-a8fe=e7cd a958=e7e2 a95b=e7e3 " +
			"a95d-a95f=e7e4 a997-a9a3=e7f4 a9f0-a9fe=e801 aaa1-aafe=e000 aba1-abfe=e05e aca1-acfe=e0bc " +
			"ada1-adfe=e11a aea1-aefe=e178 afa1-affe=e1d6 d7fa-d7fe=e810 f8a1-f8fe=e234 f9a1-f9fe=e292 " +
			"faa1-fafe=e2f0 fba1-fbfe=e34e fca1-fcfe=e3ac fda1-fdfe=e40a fe51-fe53=e816 fe59=e81e fe61=e826 " +
			"fe66-fe67=e82b fe6c-fe6d=e831 fe76=e83b fe7e=e843 fe90-fe91=e854 fea0=e864 fea1-fefe=e468"
	case "gb2312":
		return "8140-a0fe a1a4=30fb a1aa=2015 a2a1-a2aa a2e3 a3a0 a6e0-a6f5 a840-a895 a8bb-a8c0 a940-a996 aa40-b0a0 " +
			"b140-b1a0 b240-b2a0 b340-b3a0 b440-b4a0 b540-b5a0 b640-b6a0 b740-b7a0 b840-b8a0 b940-b9a0 ba40-baa0 " +
			"bb40-bba0 bc40-bca0 bd40-bda0 be40-bea0 bf40-bfa0 c040-c0a0 c140-c1a0 c240-c2a0 c340-c3a0 c440-c4a0 " +
			"c540-c5a0 c640-c6a0 c740-c7a0 c840-c8a0 c940-c9a0 ca40-caa0 cb40-cba0 cc40-cca0 cd40-cda0 ce40-cea0 " +
			"cf40-cfa0 d040-d0a0 d140-d1a0 d240-d2a0 d340-d3a0 d440-d4a0 d540-d5a0 d640-d6a0 d740-d7a0 d840-d8a0 " +
			"d940-d9a0 da40-daa0 db40-dba0 dc40-dca0 dd40-dda0 de40-dea0 df40-dfa0 e040-e0a0 e140-e1a0 e240-e2a0 " +
			"e340-e3a0 e440-e4a0 e540-e5a0 e640-e6a0 e740-e7a0 e840-e8a0 e940-e9a0 ea40-eaa0 eb40-eba0 ec40-eca0 " +
			"ed40-eda0 ee40-eea0 ef40-efa0 f040-f0a0 f140-f1a0 f240-f2a0 f340-f3a0 f440-f4a0 f540-f5a0 f640-f6a0 " +
			"f740-f7a0 f840-fe9f"
	case "gbk":
		return "a2e3 a3a0 a8bf a989-a995 fe50-fe9f"
	case "sjis":
		return "815f=5c 8160=301c 8161=2016 817c=2212 8191-8192=a2 81ca=ac 8740-879c ed40-fc4b"
	case "ujis":
		return "a1c0=5c a1c1=301c a1c2=2016 a1dd=2212 a1f1-a1f2=a2 a2cc=ac ada1-adfc f5a1-f5fe=e000 f6a1-f6fe=e05e " +
			"f7a1-f7fe=e0bc f8a1-f8fe=e11a f9a1-f9fe=e178 faa1-fafe=e1d6 fba1-fbfe=e234 fca1-fcfe=e292 " +
			"fda1-fdfe=e2f0 fea1-fefe=e34e 8fa2b7=7e 8ff5a1-8ff5fe=e3ac 8ff6a1-8ff6fe=e40a 8ff7a1-8ff7fe=e468 " +
			"8ff8a1-8ff8fe=e4c6 8ff9a1-8ff9fe=e524 8ffaa1-8ffafe=e582 8ffba1-8ffbfe=e5e0 8ffca1-8ffcfe=e63e " +
			"8ffda1-8ffdfe=e69c 8ffea1-8ffefe=e6fa"
	}
	return ""
}
