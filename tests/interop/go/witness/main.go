// A witness of transparency-dev's that cosigns one log, from nothing on, at the address given.
//
// Its one argument is a file: {"address", "log_key", "signer"}; `signer` is a key in the private text form of signed-note.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	cosignature "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/witness/persistence/inmemory"
	"github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"
)

const timeout = 30 * time.Second

func main() {
	var given struct {
		Address string `json:"address"`
		LogKey  string `json:"log_key"`
		Signer  string `json:"signer"`
	}
	text, err := os.ReadFile(os.Args[1])
	must(err)
	must(json.Unmarshal(text, &given))
	known, err := note.NewVerifier(given.LogKey)
	must(err)
	signer, err := cosignature.NewSignerForCosignatureV1(given.Signer)
	must(err)
	made, err := witness.New(context.Background(), witness.Opts{
		Persistence: inmemory.New(),
		Signers:     []note.Signer{signer},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return known, origin == known.Name(), nil
		},
	})
	must(err)
	routes := http.NewServeMux()
	routes.HandleFunc("POST /add-checkpoint", witness.NewHTTPHandler(made).AddCheckpoint)
	// Where its handler has no route of its own: what it saw last, under the monitoring address of C2SP tlog-witness.
	routes.HandleFunc("GET /"+fmt.Sprintf("%x", sha256.Sum256([]byte(known.Name())))+"/checkpoint",
		func(w http.ResponseWriter, r *http.Request) {
			seen, err := made.GetCheckpoint(r.Context(), known.Name())
			switch {
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			case seen == nil:
				http.NotFound(w, r)
			default:
				w.Write(seen)
			}
		})
	server := http.Server{Addr: given.Address, Handler: routes, ReadTimeout: timeout, WriteTimeout: timeout}
	must(server.ListenAndServe())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
