// A transparency log of the Go project's own modules, as a second opinion on ours: it checks a
// proof that a broker made, and makes one for the broker to check. Asked on standard input,
// answered on output.
//
// MODULES stands for the folder of those modules; whoever builds this fills it in.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"MODULES/mod/sumdb/note"
	"MODULES/mod/sumdb/tlog"
)

const statementBytes = 113

type asked struct {
	// To check a proof.
	Proof, Key string
	Record     []byte
	// To make one: of row Row of Records, in the batch that Statement describes but for its root,
	// which is entry Entry of Size.
	Origin      string
	Records     [][]byte
	Statement   []byte
	Seq         uint64
	Row         int64
	Entry, Size int64
}

func main() {
	var a asked
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		log.Fatal(err)
	}
	var answer map[string]any
	var err error
	if a.Proof != "" {
		answer, err = check(a)
		if err != nil {
			answer, err = map[string]any{"refused": err.Error()}, nil
		}
	} else {
		answer, err = build(a)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func check(a asked) (map[string]any, error) {
	verifier, err := note.NewVerifier(a.Key)
	if err != nil {
		return nil, err
	}
	head, signed, found := strings.Cut(a.Proof, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, errors.New("no proof")
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	checkpoint := strings.Split(opened.Text, "\n")
	if checkpoint[0] != verifier.Name() {
		return nil, errors.New("of another log")
	}
	size, err := strconv.ParseInt(checkpoint[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := tlog.ParseHash(checkpoint[2])
	if err != nil {
		return nil, err
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return nil, err
	}
	position, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return nil, err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		path = append(path, hash)
	}
	statement, rest := extra[:statementBytes], extra[statementBytes:]
	if err := tlog.CheckRecord(path, size, root, position, tlog.RecordHash(statement)); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	first := binary.BigEndian.Uint64(statement[25:])
	last := binary.BigEndian.Uint64(statement[33:])
	seq := binary.BigEndian.Uint64(rest)
	leaf := tlog.Hash(rest[8:40])
	var inner tlog.RecordProof
	for i := 0; i < int(rest[40]); i++ {
		inner = append(inner, tlog.Hash(rest[41+32*i:]))
	}
	batch := tlog.Hash(statement[49:81])
	if err := tlog.CheckRecord(inner, int64(last-first+1), batch, int64(seq-first), leaf); err != nil {
		return nil, fmt.Errorf("row: %w", err)
	}
	if leaf != tlog.RecordHash(a.Record) {
		return nil, errors.New("another record")
	}
	return map[string]any{"size": size, "position": position, "seq": seq}, nil
}

// hashes is a tree in memory, as tlog stores one.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		found = append(found, h[index])
	}
	return found, nil
}

func (h *hashes) add(n int64, record []byte) error {
	stored, err := tlog.StoredHashes(n, record, *h)
	*h = append(*h, stored...)
	return err
}

func build(a asked) (map[string]any, error) {
	var rows, entries hashes
	for n, record := range a.Records {
		if err := rows.add(int64(n), record); err != nil {
			return nil, err
		}
	}
	count := int64(len(a.Records))
	inner, err := tlog.ProveRecord(count, a.Row, rows)
	if err != nil {
		return nil, err
	}
	batch, err := tlog.TreeHash(count, rows)
	if err != nil {
		return nil, err
	}
	copy(a.Statement[49:81], batch[:])
	for n := range a.Size {
		entry := fmt.Appendf(nil, "entry %d", n)
		if n == a.Entry {
			entry = a.Statement
		}
		if err := entries.add(n, entry); err != nil {
			return nil, err
		}
	}
	path, err := tlog.ProveRecord(a.Size, a.Entry, entries)
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(a.Size, entries)
	if err != nil {
		return nil, err
	}
	private, public, err := note.GenerateKey(rand.Reader, a.Origin)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", a.Origin, a.Size, root)
	checkpoint, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, err
	}

	extra := bytes.NewBuffer(a.Statement)
	leaf := tlog.RecordHash(a.Records[a.Row])
	binary.Write(extra, binary.BigEndian, a.Seq)
	extra.Write(leaf[:])
	extra.WriteByte(byte(len(inner)))
	for _, hash := range inner {
		extra.Write(hash[:])
	}
	var proof strings.Builder
	fmt.Fprintf(&proof, "c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n",
		base64.StdEncoding.EncodeToString(extra.Bytes()), a.Entry)
	for _, hash := range path {
		fmt.Fprintf(&proof, "%s\n", hash)
	}
	fmt.Fprintf(&proof, "\n%s", checkpoint)
	return map[string]any{"proof": proof.String(), "key": public, "checkpoint": string(checkpoint)}, nil
}
