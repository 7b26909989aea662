#!/usr/bin/env bash
# Install pacsops: asks a few questions, writes the site's inventory, looks for what would stop it, deploys, and examines
# the result. Run it again at any time: what was asked is not asked again, and it goes on where it stopped.
#
#   ./install.sh                                       asks
#   ./install.sh --dry-run                             asks, and shows the inventory it would write; changes nothing
#   ./install.sh --non-interactive --site clinic --aet CLINIC --destination PACS,PACS_MAIN,192.0.2.40,104
#
# docs/INSTALLATION.md has the rest, and the way by hand.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'END'
usage: ./install.sh [options]

Every question has an option; what is not said is asked, and with --non-interactive takes what is in brackets.

  --site NAME               the inventory's folder: small letters, digits, _            [needed]
  --title TEXT              what people call the site                                  [its name]
  --host ADDRESS            the machine, reached by SSH; local: this one               [local]
  --database-host ADDRESS   another machine for PostgreSQL                             [the same]
  --viewer-host ADDRESS     another machine for the viewer; none: no viewer            [the same]
  --user NAME               the account Ansible logs in with, which may use sudo       [root]
  --runtime KIND            compose: containers; systemd: units and Debian's packages  [compose]
  --home FOLDER             the site's folder on its machines                          [/opt/orthanc]
  --storage FOLDER          where images are kept                                      [data/dicom in it]
  --database-data FOLDER    where PostgreSQL keeps its data                            [data/postgres in it]
  --aet TITLE               the AE title scanners and PACS know it by                  [needed]
  --source NAME,AET,HOST,PORT        a scanner that sends images; again for others     [none]
  --destination NAME,AET,HOST,PORT   a PACS that images go to; again for others        [none]
  --backup REPOSITORY       where backups go: a mounted folder, sftp:user@host:/path   [none]

  --non-interactive         ask nothing
  --dry-run                 show the inventory, change nothing
  --no-deploy               write the inventory and stop
  --inventories FOLDER      where the folders of sites are                             [inventories/]
  -h, --help                this

For scripts, DICOM_STORAGE_PATH and POSTGRES_DATA_PATH stand for --storage and --database-data, and the passwords
ORTHANC_PASSWORD and POSTGRES_PASSWORD, 8 or more of A-Z a-z 0-9 . _ ~ + = @ / -, are taken from the environment; those
that are not there are made.
END
}

fails() { # what happened, what to do
    printf 'Error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

step() { printf '\n── %s\n' "$1" >&2; }

# ── What was said ───────────────────────────────────────────────────────────────────────────────────────────────
site='' title='' host='' database_host='' viewer_host='' user='' runtime='' home='' aet='' backup=''
storage=${DICOM_STORAGE_PATH:-} database_data=${POSTGRES_DATA_PATH:-}
sources=() destinations=()
ask=yes dry_run=no deploy=yes inventories=$here/inventories
while [ $# -gt 0 ]; do
    option=$1
    case $option in
        --non-interactive) ask=no; shift; continue ;;
        --dry-run) dry_run=yes; shift; continue ;;
        --no-deploy) deploy=no; shift; continue ;;
        -h | --help) usage; exit 0 ;;
        --*=*) set -- "${option%%=*}" "${option#*=}" "${@:2}"; option=$1 ;;
    esac
    [ $# -ge 2 ] || fails "$option needs a value, or is no option" "./install.sh --help"
    case $option in
        --site) site=$2 ;;
        --title) title=$2 ;;
        --host) host=$2 ;;
        --database-host) database_host=$2 ;;
        --viewer-host) viewer_host=$2 ;;
        --user) user=$2 ;;
        --runtime) runtime=$2 ;;
        --home) home=$2 ;;
        --storage) storage=$2 ;;
        --database-data) database_data=$2 ;;
        --aet) aet=$2 ;;
        --source) sources+=("$2") ;;
        --destination) destinations+=("$2") ;;
        --backup) backup=$2 ;;
        --inventories) inventories=$2 ;;
        *) fails "there is no option $option" "./install.sh --help" ;;
    esac
    shift 2
done
if [ "$ask" = yes ] && [ ! -t 0 ]; then
    fails "there is nobody to ask" "./install.sh --non-interactive, with what it needs as options: ./install.sh --help"
fi

# ── What is fit ─────────────────────────────────────────────────────────────────────────────────────────────────
# Each says what is wrong, or nothing.
wrong_site() { [[ $1 =~ ^[a-z][a-z0-9_]*$ ]] || echo "a site's name has small letters, digits and _, and begins with a letter"; }
wrong_title() { [[ $1 =~ ^[^\"\\{}%]+$ ]] || echo "a title has none of \" \\ { } %"; }
wrong_address() { [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9.:-]*$ ]] || echo "that is no host name or address"; }
wrong_user() { [[ $1 =~ ^[a-z_][a-z0-9_.-]*$ ]] || echo "that is no name of an account"; }
wrong_runtime() { [[ $1 =~ ^(compose|systemd)$ ]] || echo "it is compose or systemd"; }
wrong_folder() { [[ $1 =~ ^/[A-Za-z0-9._/-]+$ ]] || echo "it is a path from the root, of letters, digits and . _ / -"; }
wrong_aet() { [[ $1 =~ ^[A-Za-z0-9_.-]{1,16}$ ]] || echo "an AE title has 1 to 16 letters, digits and _ . -"; }
wrong_backup() { [[ $1 =~ ^[A-Za-z0-9._/:@~-]+$ ]] || echo "that is no repository as restic writes one"; }
wrong_peer() {
    local name peer_aet address port rest
    IFS=, read -r name peer_aet address port rest <<<"$1"
    if [ -z "$port" ] || [ -n "$rest" ]; then
        echo "a DICOM system is said as NAME,AET,HOST,PORT"
    elif [[ ! $name =~ ^[A-Za-z0-9_-]+$ ]]; then
        echo "a name has letters, digits, _ and -"
    elif [[ ! $port =~ ^[0-9]{1,5}$ ]] || [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
        echo "a port is a number from 1 to 65535"
    else
        wrong_aet "$peer_aet"
        wrong_address "$address"
    fi
}

# ── Asking ──────────────────────────────────────────────────────────────────────────────────────────────────────
# settle VARIABLE KIND OPTION DEFAULT QUESTION: as it was said, or answered, or the default; and fit.
settle() {
    local -n value=$1
    local kind=$2 option=$3 default=$4 question=$5 wrong answer
    while [ -z "$value" ]; do
        if [ "$ask" = no ]; then
            value=$default
            [ -n "$value" ] || fails "$option is not said" "./install.sh --help"
        else
            read -r -p "$question${default:+ [$default]}: " answer || exit 130
            value=${answer:-$default}
            wrong=$([ -z "$value" ] || "wrong_$kind" "$value")
            if [ -n "$wrong" ]; then
                printf '  %s\n' "$wrong" >&2
                value=''
            fi
        fi
    done
    wrong=$("wrong_$kind" "$value")
    [ -z "$wrong" ] || fails "$option $value: $wrong" "./install.sh --help"
}

# settle_peers VARIABLE OPTION QUESTION: any number of them.
settle_peers() {
    local -n peers=$1
    local option=$2 question=$3 answer peer wrong
    if [ "$ask" = yes ] && [ ${#peers[@]} -eq 0 ]; then
        while read -r -p "$question as NAME,AET,HOST,PORT (nothing: no more): " answer && [ -n "$answer" ]; do
            wrong=$(wrong_peer "$answer")
            if [ -n "$wrong" ]; then printf '  %s\n' "$wrong" >&2; else peers+=("$answer"); fi
        done
    fi
    for peer in "${peers[@]}"; do
        wrong=$(wrong_peer "$peer")
        [ -z "$wrong" ] || fails "$option $peer: $wrong" "./install.sh --help"
    done
}

require_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            return
        fi
    done
    fails "Python 3.11 or newer is not here" "as root: apt-get install python3 python3-venv"
}

ask_all() {
    settle site site --site '' "What is the site's short name (small letters, digits, _)"
}

ask_the_rest() {
    settle title title --title "$site" "What do people call it"
    settle host address --host local "Which machine is it for (an address, reached by SSH; local: this one)"
    if [ "$host" = local ]; then database_host=${database_host:-local}; fi
    settle database_host address --database-host "$host" "Which machine has PostgreSQL"
    settle viewer_host address --viewer-host "$host" "Which machine has the viewer (none: no viewer)"
    if [ "$host" != local ]; then
        command -v ssh >/dev/null || fails "ssh is not here, and $host is reached by it" "as root: apt-get install openssh-client"
    fi
    for each in "$database_host" "$viewer_host"; do
        if [ "$host" = local ] && [ "$each" != local ] && [ "$each" != none ]; then
            fails "this machine is local for itself alone; $each has to reach it" "--host and this machine's address"
        elif [ "$host" != local ] && [ "$each" = local ]; then
            fails "local is this machine alone; $host has to reach it" "say this machine's address"
        fi
    done
    [ "$host" = local ] || settle user user --user root "Which account does Ansible log in with there (by SSH key)"
    settle runtime runtime --runtime compose "What runs the services: compose (containers) or systemd (Debian's packages)"
    settle home folder --home /opt/orthanc "In which folder does the site live"
    settle storage folder --storage "$home/data/dicom" "Where are images kept (the largest disk)"
    settle database_data folder --database-data "$home/data/postgres" "Where does PostgreSQL keep its data (the fastest disk)"
    settle aet aet --aet '' "Which AE title do scanners and PACS know it by"
    settle_peers sources --source "A scanner that sends images,"
    settle_peers destinations --destination "A PACS that images go to,"
    if [ "$ask" = yes ] && [ -z "$backup" ]; then
        read -r -p "Where do backups go (a folder that is another machine's disk, sftp:user@host:/path; nothing: none): " backup || exit 130
    fi
    if [ -n "$backup" ]; then settle backup backup --backup '' "Where do backups go"; fi
}

# ── The inventory ───────────────────────────────────────────────────────────────────────────────────────────────
# What Ansible calls a machine: the site's name and what it has.
host_lines() {
    if [ "$host" = local ]; then
        printf '    %s1: {ansible_connection: local}\n' "$site"
        return
    fi
    printf '    %s1: {ansible_host: "%s"}\n' "$site" "$host"
    if [ "$database_host" != "$host" ]; then printf '    %s_db1: {ansible_host: "%s"}\n' "$site" "$database_host"; fi
    if [ "$viewer_host" != none ] && [ "$viewer_host" != "$host" ]; then
        printf '    %s_view1: {ansible_host: "%s"}\n' "$site" "$viewer_host"
    fi
}

write_hosts() {
    local db=${site}1 view=${site}1
    [ "$database_host" = "$host" ] || db=${site}_db1
    [ "$viewer_host" = "$host" ] || view=${site}_view1
    printf -- '---\n# Made by install.sh; yours from now on. What a site may set: roles/*/defaults/main.yml.\nall:\n  hosts:\n'
    host_lines
    printf '  vars:\n'
    if [ "$host" != local ]; then printf '    ansible_user: %s\n' "$user"; fi
    if [ "$host" = local ] && [ "$(id -u)" -ne 0 ] || [ "$host" != local ] && [ "$user" != root ]; then
        printf '    ansible_become: true\n'
    fi
    printf '    ansible_python_interpreter: /usr/bin/python3\n\n  children:\n'
    printf '    database: {hosts: {%s: }}\n' "$db"
    printf '    orthanc: {hosts: {%s1: }}\n    router: {hosts: {%s1: }}\n' "$site" "$site"
    if [ "$viewer_host" != none ]; then printf '    viewer: {hosts: {%s: }}\n' "$view"; fi
}

as_network() { # a machine, as pg_hba.conf writes it
    case $1 in
        *:*) echo "$1/128" ;;
        *[!0-9.]*) echo "$1" ;;
        *) echo "$1/32" ;;
    esac
}

write_vars() {
    printf -- '---\n# What holds for this site. Every variable there is: roles/*/defaults/main.yml.\nruntime: %s\n' "$runtime"
    printf 'toolkit_home: %s\ntoolkit_command_link: /usr/local/bin/orthanc\n\n' "$home"
    printf '# What scanners and PACS know it as. They are told this name, the address of %s1 and port 4242.\n' "$site"
    printf 'orthanc_aet: "%s"\northanc_name: "%s"\n\n' "$aet" "$title"
    printf 'orthanc_storage: %s\ndatabase_data: %s\n\n' "$storage" "$database_data"
    if [ "$viewer_host" = none ]; then printf 'orthanc_dicomweb: false  # nobody looks at images in a browser here\n\n'; fi
    if [ "$database_host" != "$host" ]; then
        printf '# Orthanc and the router are let in there, over TLS.\ndatabase_host: "%s"\n' "$database_host"
        [[ $database_host =~ ^[0-9.]+$ ]] || printf 'database_listen: 0.0.0.0\n'
        printf 'database_clients: ["%s"]\n\n' "$(as_network "$host")"
    fi
    # Between machines the REST API needs an address that the others reach.
    if [ "$viewer_host" != none ] && [ "$viewer_host" != "$host" ]; then
        printf 'orthanc_bind_all: true\northanc_url: "http://%s:8042"\n\n' "$host"
    else
        printf '# The REST API is for its machine alone.\northanc_bind_all: false\n\n'
    fi
    # shellcheck disable=SC2016
    printf 'router_routes_source: "{{ inventory_dir }}/files/routes.yml"\n\n'
    if [ -n "$backup" ]; then
        printf '# Who loses secrets/backup beside this inventory has lost the backups.\nbackup_repository: "%s"\n' "$backup"
    else
        printf '# No backups: docs/backup.md says how to have them.\nbackup_repository: ""\n'
    fi
}

peer_line() { # NAME,AET,HOST,PORT, what else
    local name peer_aet address port
    IFS=, read -r name peer_aet address port <<<"$1"
    printf '  - {name: "%s", aet: "%s", host: "%s", port: %s%s}\n' "$name" "$peer_aet" "$address" "$port" "$2"
}

write_destinations() {
    local peer
    printf -- '---\n# The DICOM systems around Orthanc. More about each key: inventories/example_hospital.\n'
    printf '# A change here needs no restart: ansible-playbook -i <this folder> playbooks/destinations.yml\n'
    if [ ${#sources[@]} -eq 0 ] && [ ${#destinations[@]} -eq 0 ]; then
        printf 'orthanc_modalities: []\n'
        return
    fi
    printf 'orthanc_modalities:\n'
    for peer in "${sources[@]}"; do peer_line "$peer" ', allow_store: true'; done
    for peer in "${destinations[@]}"; do peer_line "$peer" ''; done
}

write_routes() {
    local peer
    printf '# Where studies go, and by which rule. The language: docs/routes.md. Saved on the host, or put there by\n'
    printf '# playbooks/routes.yml, it is taken up within seconds.\n'
    if [ ${#destinations[@]} -eq 0 ]; then
        printf 'routes: []\n'
        return
    fi
    printf 'routes:\n'
    for peer in "${destinations[@]}"; do
        printf '  - name: everything_to_%s\n    description: All that arrives goes to %s\n' "${peer%%,*}" "${peer%%,*}"
        printf '    match:\n      modality: {matches: ".*"}\n    action:\n      send: study\n      to: "%s"\n' "${peer%%,*}"
    done
}

write_secrets() { # folder: those of the environment
    local name secret
    for name in orthanc:ORTHANC_PASSWORD database:POSTGRES_PASSWORD; do
        secret=${name#*:} secret=${!secret:-}
        [ -n "$secret" ] || continue
        [[ $secret =~ ^[A-Za-z0-9._~+=@/-]{8,}$ ]] ||
            fails "${name#*:} is not fit for every file it is written to" "8 or more of A-Z a-z 0-9 . _ ~ + = @ / -"
        [ -d "$1" ] || mkdir -m 0700 "$1"
        (umask 077 && printf '%s\n' "$secret" >"$1/${name%%:*}")
    done
}

write_inventory() { # folder
    mkdir -p "$1/group_vars/all" "$1/files"
    write_hosts >"$1/hosts.yml"
    write_vars >"$1/group_vars/all/vars.yml"
    write_destinations >"$1/group_vars/all/destinations.yml"
    write_routes >"$1/files/routes.yml"
    write_secrets "$1/secrets"
}

# ── Going on ────────────────────────────────────────────────────────────────────────────────────────────────────
require_python
ask_all
inventory=$inventories/$site
written=''
trap 'rm -rf -- "$written"' EXIT
again="./install.sh --site $site"
[ "$inventories" = "$here/inventories" ] || again="$again --inventories $inventories"
trap 'printf "\nInterrupted; nothing is half. hint: %s goes on\n" "$again" >&2; exit 130' INT TERM

if [ -e "$inventory/hosts.yml" ]; then
    step "The inventory $inventory is there: it is used as it is"
else
    ask_the_rest
    [ ! -e "$inventory" ] || fails "$inventory is there, and no inventory" "remove it, or choose another --site"
    if [ "$dry_run" = yes ]; then
        written=$(mktemp -d)
        write_inventory "$written"
        for file in hosts.yml group_vars/all/vars.yml group_vars/all/destinations.yml files/routes.yml; do
            printf '# ── %s/%s\n' "$inventory" "$file"
            cat "$written/$file"
        done
        printf '# ── %s/secrets/: passwords, made by the first deployment\n' "$inventory"
        exit 0
    fi
    # Complete, or not there.
    mkdir -p "$inventories"
    written=$(mktemp -d "$inventories/.new-XXXXXX")
    chmod 0755 "$written"
    write_inventory "$written"
    mv -T -- "$written" "$inventory"
    written=''
    step "The inventory $inventory is written"
fi
if [ "$dry_run" = yes ]; then
    printf 'Nothing to show: %s is there. It would be deployed.\n' "$inventory"
    exit 0
fi
if [ "$deploy" = no ]; then
    printf 'Next: %s\n' "$again"
    exit 0
fi

cd "$here"
step "Ansible is prepared"
scripts/prepare demo-compose
play() { # playbook, arguments: or say how to go on
    .venv/bin/ansible-playbook -i "$inventory" "$@" || {
        printf '\nError: playbooks/%s did not succeed; it says why above\nhint: mend it, then %s goes on\n' "${1##*/}" "$again" >&2
        exit 1
    }
}
become=()
if grep -q 'ansible_connection: local' "$inventory/hosts.yml" && [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
    [ "$ask" = yes ] || fails "this user may not become root without a password" "run it as root"
    become=(--ask-become-pass)
fi
export ANSIBLE_CONFIG=$here/ansible.cfg
step "Looking for what would stop a deployment"
play playbooks/preflight.yml "${become[@]}"
step "Deploying"
play site.yml "${become[@]}"
step "Examining the site"
play playbooks/doctor.yml "${become[@]}"

next=".venv/bin/ansible-playbook -i $inventory playbooks/backup.yml"
if grep -q '^backup_repository: ""' "$inventory/group_vars/all/vars.yml"; then
    next="docs/backup.md, for this site has no backups"
fi
cat <<END

$site is installed. On its machines:
  orthanc status                    is anything wrong?
  orthanc add-destination           another DICOM system
  orthanc routes                    which study goes where
From here: $inventory is the site; a change to it is brought there by
  .venv/bin/ansible-playbook -i $inventory site.yml --diff
Keep $inventory/secrets safe: nobody else has the passwords.
Next: $next
END
