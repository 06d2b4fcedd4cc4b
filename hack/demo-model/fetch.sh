#!/usr/bin/env bash
# Fetches the pictures, names and keywords into the work folder, from npm, and checks them before unpacking.
set -euo pipefail

data="${ATELIER_DEMO_MODEL_WORK:-$HOME/.cache/atelier/demo-model}/data"

# fetch FOLDER PACKAGE@VERSION SHA512: unpacks one package as $data/FOLDER/package.
fetch() {
  local folder="$data/$1" package="$2" want="$3" partial file have
  [[ -d "$folder/package" ]] && return
  partial="$(mktemp -d)"
  file="$partial/$(npm pack --silent --pack-destination "$partial" "$package")"
  have="$(openssl dgst -sha512 -binary "$file" | base64 | tr -d '\n')"
  if [[ "$have" != "$want" ]]; then
    echo "fetch.sh: $package has sha512 $have, expected $want" >&2
    exit 1
  fi
  tar -xzf "$file" -C "$partial"
  mkdir -p "$folder"
  mv "$partial/package" "$folder/package"
  rm -rf "$partial"
}

fetch lobehub-fluent-emoji-3d @lobehub/fluent-emoji-3d@1.1.0 \
  Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==
fetch unicode-emoji-json unicode-emoji-json@0.9.0 \
  HdrQW/7SdbXUsTd8uTATv7LvQJkCSgbAgRCDCtOhQ6xn3EAx+xZHQtRniOXWJK3ywIqPegkNhP4U4EbuFsiQng==
fetch emojilib emojilib@4.0.3 \
  KbWiYre9aRSaPbHrHZIz9zmoM+21LAsK1VFJtnTh1VCtWE/rNMDviGhQTmselFl95dhqtGlY22iH0leG5BuW0g==
