"""openssl checks the signature of a bundle that `lorikeet bundle sign` signed, and makes keys that it signs with."""

import subprocess

from interop import arguments, lorikeet

options = arguments()
work = options.work


def openssl(*words, **settings):
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, **settings)


lorikeet(options, "bundle", "keygen", "--output", work / "own.pem", "--force")
openssl("genpkey", "-algorithm", "ed25519", "-out", work / "theirs.pem", check=True)
for key in ("own", "theirs"):
    bundle, folder = work / f"{key}.lorikeet", work / f"{key}-files"
    lorikeet(options, "bundle", "pack", "Tests/AdaptersTests/Resources/plain", "--output", bundle, "--force")
    lorikeet(options, "bundle", "sign", bundle, "--key", work / f"{key}.pem")
    folder.mkdir(exist_ok=True)
    subprocess.run(["tar", "--zstd", "-xf", bundle, "-C", folder], check=True)
    manifest = folder / "manifest.json"
    public = openssl("pkey", "-in", work / f"{key}.pem", "-pubout", check=True).stdout
    assert public == (folder / "manifest.json.pub").read_bytes(), "another public key"
    check = (
        "pkeyutl", "-verify", "-pubin", "-inkey", folder / "manifest.json.pub", "-rawin", "-in", manifest,
        "-sigfile", folder / "manifest.json.sig",
    )
    assert openssl(*check).returncode == 0, "openssl does not accept the signature"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert openssl(*check).returncode != 0, "openssl accepts a changed manifest"
    print(f"{key}: openssl accepts the signature, and none of a changed manifest")
