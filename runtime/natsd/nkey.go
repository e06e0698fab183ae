package natsd

import (
	"crypto/ed25519"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
)

// nkey is a user's key. Its texts are base32 of prefix, key and CRC-16, as
// https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth has it.
type nkey struct{ key ed25519.PrivateKey }

const (
	seedPrefix = 18 << 3 // 'S'
	userPrefix = 20 << 3 // 'U'
)

var errSeed = errors.New("it is not the seed of a user's key, which begins with SU")

// parseSeed reads "SU...", 58 characters.
func parseSeed(text string) (nkey, error) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != 2+ed25519.SeedSize+2 { // the error would repeat a part of the seed
		return nkey{}, errSeed
	}
	body, sum := raw[:len(raw)-2], binary.LittleEndian.Uint16(raw[len(raw)-2:])
	// The seed's prefix takes five bits, that of what it is the seed of the next eight.
	if raw[0]&0xf8 != seedPrefix || raw[0]&7<<5|raw[1]>>3 != userPrefix || crc16(body) != sum {
		return nkey{}, errSeed
	}
	return nkey{ed25519.NewKeyFromSeed(body[2:])}, nil
}

// public returns "U...", by which the server knows the user.
func (k nkey) public() string {
	raw := append([]byte{userPrefix}, k.key.Public().(ed25519.PublicKey)...)
	raw = binary.LittleEndian.AppendUint16(raw, crc16(raw))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
}

// sign signs what the server asks to be signed.
func (k nkey) sign(nonce []byte) ([]byte, error) { return ed25519.Sign(k.key, nonce), nil }

// crc16 is CRC-16/XMODEM.
func crc16(data []byte) (crc uint16) {
	for _, b := range data {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
