// Verifies a whole log of C2SP tlog-tiles with golang.org/x/mod/sumdb, then again with Tessera's fsck.
//
// On standard input: {"url", "log_key", "witnesses", "older", "proofs", "feed"}; the log is read from `url` (http or file).
// On standard output: {"size", "tiles", "included", "grown", "cosigned", "proofs", "fed"}; exit code 1 and a reason
// otherwise.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height     = 8
	samples    = 500
	timeout    = 20 * time.Second
	bytesMax   = 32 << 20
	fsckReader = 4
)

type question struct {
	URL       string   `json:"url"`
	LogKey    string   `json:"log_key"`
	Witnesses []string `json:"witnesses"`
	// Checkpoints that were seen before.
	Older []string `json:"older"`
	// Proofs that travel alone, each with its entry.
	Proofs []struct{ Entry, Proof string } `json:"proofs"`
	// A witness that shall cosign the checkpoints, and its key.
	Feed struct{ URL, Witness string } `json:"feed"`
}

type answer struct {
	Size     int64 `json:"size"`
	Tiles    int   `json:"tiles"`
	Included int   `json:"included"`
	Grown    int   `json:"grown"`
	Cosigned int   `json:"cosigned"`
	Proofs   int   `json:"proofs"`
	Fed      int   `json:"fed"`
}

func main() {
	log.SetFlags(0)
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatalf("question: %v", err)
	}
	told, err := verify(asked)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		log.Fatal(err)
	}
}

func verify(asked question) (answer, error) {
	served := open(asked.URL)
	trusted, err := readKeys(asked)
	if err != nil {
		return answer{}, err
	}
	raw, err := served.read("checkpoint")
	if err != nil {
		return answer{}, err
	}
	tree, cosigned, err := trusted.openCheckpoint(raw)
	if err != nil {
		return answer{}, fmt.Errorf("checkpoint: %w", err)
	}
	told := answer{Size: tree.N, Cosigned: cosigned}
	own, err := rebuild(served, tree)
	if err != nil {
		return told, err
	}
	if told.Tiles, err = compareTiles(served, tree, own); err != nil {
		return told, err
	}
	proofs := tlog.TileHashReader(tree, served)
	if told.Included, err = checkInclusion(proofs, tree, own); err != nil {
		return told, err
	}
	if told.Grown, err = checkGrowth(proofs, tree, trusted, asked.Older); err != nil {
		return told, err
	}
	if told.Proofs, err = checkProofs(trusted, asked); err != nil {
		return told, err
	}
	if told.Fed, err = feed(proofs, trusted, asked, raw); err != nil {
		return told, err
	}
	return told, runFsck(asked, trusted.log)
}

// keys are whom to believe.
type keys struct {
	log note.Verifier
	all note.Verifiers
}

func readKeys(asked question) (keys, error) {
	own, err := note.NewVerifier(asked.LogKey)
	if err != nil {
		return keys{}, fmt.Errorf("log key: %w", err)
	}
	known := []note.Verifier{own}
	for _, text := range asked.Witnesses {
		witness, err := cosignature.NewVerifierForCosignatureV1(text)
		if err != nil {
			return keys{}, fmt.Errorf("witness key: %w", err)
		}
		known = append(known, witness)
	}
	return keys{own, note.VerifierList(known...)}, nil
}

// openCheckpoint verifies every signature of a known key; the log's must be there. It counts the others.
func (k keys) openCheckpoint(raw []byte) (tlog.Tree, int, error) {
	opened, err := note.Open(raw, k.all)
	if err != nil {
		return tlog.Tree{}, 0, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != k.log.Name() {
		return tlog.Tree{}, 0, fmt.Errorf("the origin is %q", origin)
	}
	cosigned := 0
	byLog := false
	for _, signature := range opened.Sigs {
		if signature.Name == k.log.Name() && signature.Hash == k.log.KeyHash() {
			byLog = true
		} else {
			cosigned++
		}
	}
	if !byLog {
		return tlog.Tree{}, 0, fmt.Errorf("the log has not signed it")
	}
	// The sumdb's own log has another first line; size and root are the same two lines below it.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	return tree, cosigned, err
}

// hashes are all stored hashes of a tree, in the order of package tlog.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(h)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found[i] = h[index]
	}
	return found, nil
}

// rebuild hashes every entry anew and compares the root with the checkpoint's.
func rebuild(served *tree, head tlog.Tree) (hashes, error) {
	var own hashes
	for first := int64(0); first < head.N; first += 1 << height {
		entries, err := served.readBundle(first, min(1<<height, head.N-first))
		if err != nil {
			return nil, err
		}
		for i, entry := range entries {
			more, err := tlog.StoredHashes(first+int64(i), entry, own)
			if err != nil {
				return nil, err
			}
			own = append(own, more...)
		}
	}
	root, err := tlog.TreeHash(head.N, own)
	if err != nil {
		return nil, err
	}
	if root != head.Hash {
		return nil, fmt.Errorf("the entries' root is %v, the checkpoint says %v", root, head.Hash)
	}
	return own, nil
}

func compareTiles(served *tree, head tlog.Tree, own hashes) (int, error) {
	all := tlog.NewTiles(height, 0, head.N)
	for _, tile := range all {
		want, err := tlog.ReadTileData(tile, own)
		if err != nil {
			return 0, err
		}
		got, err := served.read(address(tile))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(got, want) {
			return 0, fmt.Errorf("%s is not made of the entries", address(tile))
		}
	}
	return len(all), nil
}

func checkInclusion(proofs tlog.HashReader, head tlog.Tree, own hashes) (int, error) {
	checked := 0
	step := max(1, head.N/samples)
	for index := int64(0); index < head.N; index += step {
		path, err := tlog.ProveRecord(head.N, index, proofs)
		if err != nil {
			return checked, err
		}
		leaf := own[tlog.StoredHashIndex(0, index)]
		if err := tlog.CheckRecord(path, head.N, head.Hash, index, leaf); err != nil {
			return checked, fmt.Errorf("entry %d: %w", index, err)
		}
		checked++
	}
	return checked, nil
}

func checkGrowth(proofs tlog.HashReader, head tlog.Tree, trusted keys, older []string) (int, error) {
	for i, text := range older {
		before, _, err := trusted.openCheckpoint([]byte(text))
		if err != nil {
			return i, fmt.Errorf("older checkpoint: %w", err)
		}
		path, err := tlog.ProveTree(head.N, before.N, proofs)
		if err != nil {
			return i, err
		}
		if err := tlog.CheckTree(path, head.N, head.Hash, before.N, before.Hash); err != nil {
			return i, fmt.Errorf("from size %d: %w", before.N, err)
		}
	}
	return len(older), nil
}

func checkProofs(trusted keys, asked question) (int, error) {
	for i, one := range asked.Proofs {
		var carried proof.TLogProof
		if err := carried.Unmarshal([]byte(one.Proof)); err != nil {
			return i, err
		}
		covering, _, err := trusted.openCheckpoint(carried.Checkpoint)
		if err != nil {
			return i, fmt.Errorf("a proof's checkpoint: %w", err)
		}
		path := make(tlog.RecordProof, len(carried.Hashes))
		for place, hash := range carried.Hashes {
			path[place] = hash
		}
		leaf := tlog.RecordHash([]byte(one.Entry))
		if err := tlog.CheckRecord(path, covering.N, covering.Hash, int64(carried.Index), leaf); err != nil {
			return i, fmt.Errorf("proof of entry %d: %w", carried.Index, err)
		}
	}
	return len(asked.Proofs), nil
}

// runFsck lets Tessera fetch and check everything once more, in its own way.
func runFsck(asked question, key note.Verifier) error {
	root, err := url.Parse(strings.TrimSuffix(asked.URL, "/") + "/")
	if err != nil {
		return err
	}
	var source fsck.Fetcher = &client.FileFetcher{Root: root.Path}
	if root.Scheme != "file" {
		if source, err = client.NewHTTPFetcher(root, nil); err != nil {
			return err
		}
	}
	err = fsck.New(key.Name(), key, source, leafHashes, fsck.Opts{N: fsckReader}).Check(context.Background())
	if err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	return nil
}

func leafHashes(raw []byte) ([][]byte, error) {
	bundle := &api.EntryBundle{}
	if err := bundle.UnmarshalText(raw); err != nil {
		return nil, err
	}
	var found [][]byte
	for _, entry := range bundle.Entries {
		found = append(found, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return found, nil
}

// tree is the log as it is served.
type tree struct {
	root   string
	client *http.Client
}

func open(root string) *tree {
	transport := &http.Transport{}
	transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	return &tree{strings.TrimSuffix(root, "/"), &http.Client{Transport: transport, Timeout: timeout}}
}

func (t *tree) read(path string) ([]byte, error) {
	response, err := t.client.Get(t.root + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, bytesMax))
}

func (t *tree) readBundle(first, width int64) ([][]byte, error) {
	path := address(tlog.Tile{H: height, L: -1, N: first >> height, W: int(width)})
	raw, err := t.read(path)
	if err != nil {
		return nil, err
	}
	bundle := &api.EntryBundle{}
	if err := bundle.UnmarshalText(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if int64(len(bundle.Entries)) != width {
		return nil, fmt.Errorf("%s holds %d entries", path, len(bundle.Entries))
	}
	return bundle.Entries, nil
}

// address is a tile's in C2SP tlog-tiles: that of package tlog without the height, and with "entries" for "data".
func address(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

func (t *tree) Height() int { return height }

func (t *tree) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if found[i], err = t.read(address(tile)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (t *tree) SaveTiles([]tlog.Tile, [][]byte) {}
