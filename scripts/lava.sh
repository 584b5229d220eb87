#!/usr/bin/env bash
#
# A LAVA lab for tests: the real server and dispatcher of Debian 12, on loopback alone, with a database of its own.
#
#   lava.sh up [FILE]            brings it up, or finds it up; FILE gets addresses and tokens (KILN_TEST_LAVA of the tests)
#   lava.sh down                 stops it, with the jobs that run
#   lava.sh purge                stops it and forgets all of it; the packages stay
#   lava.sh stop-server          stops web server, events and scheduler; jobs go on
#   lava.sh start-server         starts them again
#   lava.sh stop-worker          stops the worker, and waits for the lab to see that; jobs that run go on
#   lava.sh start-worker         starts it again
#   lava.sh device NAME HEALTH [STATE]   Good Unknown Looping Bad Maintenance Retired; Idle Reserved Running
#   lava.sh worker NAME HEALTH [STATE]   Active Maintenance Retired; Online Offline
#   lava.sh reset                cancels all jobs, and sets back what tests changed
#   lava.sh jobs USER [NAME]     how many jobs of that user, and name, the lab has
#
# One lab fits on a machine, as LAVA's settings are in /etc/lava-server; one that is not this script's is left alone. To be
# run as root. KILN_LAVA_HOME is where it lives (/var/lib/kiln-lava), KILN_LAVA_PORT the first of its four ports (28100).

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# LAVA's programs and its packages' scripts call python3 by name, and mean Debian's.
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PGHOST PGPORT PGUSER PGDATABASE DATABASE_URL SECRET_KEY
export no_proxy=127.0.0.0/8,127.0.0.1,localhost NO_PROXY=127.0.0.0/8,127.0.0.1,localhost

readonly HOME_DIR=${KILN_LAVA_HOME:-/var/lib/kiln-lava}
readonly PORT=${KILN_LAVA_PORT:-28100}
readonly EVENTS_PORT=$((PORT + 1)) BUS_PORT=$((PORT + 2)) DATABASE_PORT=$((PORT + 3))
readonly URL=http://127.0.0.1:$PORT/ EVENTS=ws://127.0.0.1:$EVENTS_PORT/ws/
readonly SETTINGS=/etc/lava-server/settings.d
readonly DISPATCHER=/etc/lava-server/dispatcher-config
readonly WORKER=kiln-worker
readonly USERS=(submitter other staff admin superuser operator)
readonly DAEMONS=(web events scheduler worker)
readonly MINE="# The test lab in $HOME_DIR; scripts/lava.sh purge takes this away."

# Runs a command as a system user, from where that one may be.
as() {
    local user=$1
    shift
    (cd / && exec setpriv --reuid="$user" --regid="$user" --init-groups -- "$@")
}

manage() {
    as lavaserver env HOME=/var/lib/lava-server/home lava-server manage "$@"
}

sql() {
    as postgres "$(postgres_bin)/psql" -qAtX -v ON_ERROR_STOP=1 -h "$HOME_DIR/sockets" -p "$DATABASE_PORT" -d "${2:-lavaserver}" -c "$1"
}

postgres_bin() {
    local bins=(/usr/lib/postgresql/*/bin)
    [[ -x ${bins[-1]}/postgres ]] || die "PostgreSQL has no server here"
    printf '%s\n' "${bins[-1]}"
}

secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# --- processes -------------------------------------------------------------------------------------------------------
# A process is known by its number and when it started, so that nothing else is ever ended in its place.

# Nothing for one that has ended, even if nobody has taken notice of that yet.
started() {
    local fields
    fields=$(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null) || return 0
    [[ $fields == Z* ]] || cut -d' ' -f20 <<<"$fields"
}

runs() {
    local pid start
    read -r pid start 2>/dev/null <"$HOME_DIR/pids/$1" || return 1
    [[ -n $start && $(started "$pid") == "$start" ]]
}

launch() {
    local name=$1 pid
    shift
    runs "$name" && return
    (cd / && exec setsid nohup "$@" </dev/null >>"$HOME_DIR/log/$name" 2>&1 9>&-) &
    pid=$!
    printf '%s %s\n' "$pid" "$(started "$pid")" >"$HOME_DIR/pids/$name"
}

# halt NAME SIGNAL: asks it to end, and after 20 seconds no longer asks.
halt() {
    local name=$1 signal=$2 pid _ tries
    runs "$name" || return 0
    read -r pid _ <"$HOME_DIR/pids/$name"
    kill "-$signal" "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 200; tries++)); do
        runs "$name" || break
        sleep 0.1
    done
    # It leads a group of its own.
    if runs "$name"; then kill -KILL -- "-$pid" 2>/dev/null || true; fi
    rm -f "$HOME_DIR/pids/$name"
}

# until_so SECONDS WHAT COMMAND..
until_so() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || die "$what does not come up; see $HOME_DIR/log"
        sleep 0.2
    done
}

ask() {
    curl -fsS --noproxy '*' --max-time 20 "$URL$1"
}

worker_is() {
    ask "api/v0.2/workers/$WORKER/" | grep -q "\"state\":\"$1\""
}

# --- bringing up -----------------------------------------------------------------------------------------------------

packages() {
    install_services "postgresql=/usr/lib/postgresql/*/bin/postgres"
    # What LAVA's package finds on PostgreSQL's own port it would take for its database: that may be anybody's. git and zstd are
    # what jobs fetch tests with, and unpack with.
    PGHOST=/nonexistent install_services lava-server lava-dispatcher=lava-run qemu-system-x86=qemu-system-x86_64 cpio curl \
        busybox-static=/usr/share/doc/busybox-static git zstd
    # Under systemd they are enabled nevertheless, and would compete with this lab.
    if [[ -d /run/systemd/system ]]; then
        systemctl disable --now lava-publisher lava-scheduler lava-server-gunicorn lava-worker >/dev/null 2>&1 || true
    fi
}

# Puts what is read into a file that LAVA may read.
put() {
    local mode=$1 file=$2
    install -o lavaserver -g lavaserver -m "$mode" /dev/stdin "$file"
}

database() {
    local bin
    bin=$(postgres_bin)
    install -d -o postgres -g postgres -m 700 "$HOME_DIR/database" "$HOME_DIR/sockets"
    if [[ ! -s $HOME_DIR/database/PG_VERSION ]]; then
        as postgres "$bin/initdb" -D "$HOME_DIR/database" -E UTF8 --locale=C.UTF-8 --auth-local=peer \
            --auth-host=scram-sha-256 >"$HOME_DIR/log/initdb" 2>&1 || die "no database; see $HOME_DIR/log/initdb"
    fi
    # What it holds need not outlive the machine.
    launch database setpriv --reuid=postgres --regid=postgres --init-groups -- "$bin/postgres" \
        -D "$HOME_DIR/database" -c listen_addresses=127.0.0.1 -c port="$DATABASE_PORT" \
        -c unix_socket_directories="$HOME_DIR/sockets" -c fsync=off -c full_page_writes=off
    until_so 60 "the database" sql "SELECT 1" postgres
}

settings() {
    local other
    for other in "$SETTINGS/00-database.yaml" /etc/lava-server/instance.conf; do
        if [[ -s $other ]] && ! grep -qxF "$MINE" "$other"; then
            die "$other belongs to another LAVA, and this machine has room for one"
        fi
    done
    put 640 "$SETTINGS/00-database.yaml" <<EOF
$MINE
DATABASES:
  default:
    ENGINE: django.db.backends.postgresql
    NAME: lavaserver
    USER: lavaserver
    PASSWORD: "$(<"$HOME_DIR/database-password")"
    HOST: 127.0.0.1
    PORT: $DATABASE_PORT
EOF
    put 640 "$SETTINGS/60-kiln.yaml" <<EOF
$MINE
ALLOWED_HOSTS: ["127.0.0.1", "localhost"]
HTTPS_XML_RPC: false
SESSION_COOKIE_SECURE: false
CSRF_COOKIE_SECURE: false
EVENT_NOTIFICATION: true
EVENT_SOCKET: "tcp://127.0.0.1:$BUS_PORT"
INTERNAL_EVENT_SOCKET: "ipc://$HOME_DIR/run/events"
WORKER_AUTO_REGISTER: false
INSTANCE_NAME: "kiln"
EOF
    install -d -o lavaserver -g lavaserver "$DISPATCHER/devices" "/etc/lava-server/dispatcher.d/$WORKER"
    # QEMU's boot asks for an address of the dispatcher.
    put 644 "/etc/lava-server/dispatcher.d/$WORKER/dispatcher.yaml" <<<"dispatcher_ip: 127.0.0.1"
    put 644 "/etc/lava-server/dispatcher.d/$WORKER/env.yaml" <<EOF
purge: true
overrides:
  LC_ALL: C.UTF-8
  PATH: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  no_proxy: 127.0.0.0/8,127.0.0.1,localhost
EOF
    # No KVM, which few machines that build have; no way out for the guest.
    local device
    for device in qemu-{1..4} far-1 hidden-1; do
        put 644 "$DISPATCHER/devices/$device.jinja2" <<'EOF'
{% extends 'qemu.jinja2' %}
{% set no_kvm = no_kvm|default(true) %}
{% set netdevice = 'user,restrict=on' %}
{% set memory = memory|default(512) %}
EOF
    done
    sed 's/qemu.jinja2/qemu-aarch64.jinja2/' "$DISPATCHER/devices/qemu-1.jinja2" |
        put 644 "$DISPATCHER/devices/aarch64-1.jinja2"
}

schema() {
    local version password
    version=$(dpkg-query -W -f '${Version}' lava-server)
    [[ $(cat "$HOME_DIR/schema" 2>/dev/null) == "$version" ]] && return
    say "making the lab's database"
    # The package's own script makes keys and directories; what it does to databases knows port 5432 alone.
    (cd / && /usr/bin/python3 /usr/share/lava-server/postinst.py --config --fixup) >"$HOME_DIR/log/postinst" 2>&1 ||
        die "LAVA can't be configured; see $HOME_DIR/log/postinst"
    password=$(<"$HOME_DIR/database-password")
    [[ -n $(sql "SELECT 1 FROM pg_roles WHERE rolname = 'lavaserver'" postgres) ]] ||
        sql "CREATE ROLE lavaserver LOGIN PASSWORD '$password'" postgres
    [[ -n $(sql "SELECT 1 FROM pg_database WHERE datname = 'lavaserver'" postgres) ]] ||
        sql "CREATE DATABASE lavaserver OWNER lavaserver ENCODING 'UTF8' TEMPLATE template0" postgres
    {
        manage migrate --noinput --fake-initial
        manage drop_materialized_views
        manage refresh_queries --all
    } >"$HOME_DIR/log/migrate" 2>&1 || die "the database can't be made; see $HOME_DIR/log/migrate"
    printf '%s' "$version" >"$HOME_DIR/schema"
}

# Users, workers, types and devices. Where they are already, what tests changed is set back.
people_and_things() {
    local user
    for user in "${USERS[@]}"; do
        [[ -s $HOME_DIR/tokens/$user ]] || (umask 077 && secret >"$HOME_DIR/tokens/$user")
    done
    {
        printf 'tokens = {'
        for user in "${USERS[@]}"; do printf '"%s": "%s", ' "$user" "$(<"$HOME_DIR/tokens/$user")"; done
        printf '}\n'
        cat <<'EOF'
from django.contrib.auth.models import Group, Permission, User
from lava_scheduler_app.models import Device, DeviceType, Tag, Worker
from linaro_django_xmlrpc.models import AuthToken

operators, _ = Group.objects.get_or_create(name="operators")
operators.permissions.add(Permission.objects.get(codename="change_device"))

for name, token in tokens.items():
    user, _ = User.objects.get_or_create(username=name)
    user.is_active = True
    user.is_staff = name in ("staff", "admin")
    user.is_superuser = name in ("admin", "superuser")
    user.set_unusable_password()
    user.save()
    AuthToken.objects.filter(user=user).delete()
    AuthToken.objects.create(secret=token, user=user, description="kiln")
operators.user_set.set(User.objects.filter(username="operator"))

near, _ = Worker.objects.get_or_create(hostname="kiln-worker")
far, _ = Worker.objects.get_or_create(hostname="kiln-far-worker")
Worker.objects.update(health=Worker.HEALTH_ACTIVE)

for name in ("qemu", "qemu-aarch64", "far", "empty"):
    DeviceType.objects.get_or_create(name=name)
DeviceType.objects.update_or_create(name="hidden", defaults={"display": False})
virtual, _ = Tag.objects.get_or_create(name="virtual")
Tag.objects.get_or_create(name="unused")

for name, kind, worker, health in (
    ("qemu-1", "qemu", near, Device.HEALTH_GOOD),
    ("qemu-2", "qemu", near, Device.HEALTH_GOOD),
    ("qemu-3", "qemu", near, Device.HEALTH_BAD),
    ("qemu-4", "qemu", near, Device.HEALTH_MAINTENANCE),
    ("aarch64-1", "qemu-aarch64", near, Device.HEALTH_BAD),
    ("far-1", "far", far, Device.HEALTH_GOOD),
    ("hidden-1", "hidden", near, Device.HEALTH_GOOD),
):
    device, _ = Device.objects.get_or_create(
        hostname=name, defaults={"device_type_id": kind, "worker_host": worker}
    )
    Device.objects.filter(hostname=name).update(health=health)
    device.tags.set([virtual])

with open("@HOME@/run/worker-token", "w") as file:
    file.write(near.token)
print("all is there")
EOF
    } | sed "s|@HOME@|$HOME_DIR|" >"$HOME_DIR/run/people.py"
    chmod 600 "$HOME_DIR/run/people.py"
    chown lavaserver "$HOME_DIR/run/people.py"
    # Its exit code says nothing: it is 0 after an exception, too.
    manage shell <"$HOME_DIR/run/people.py" >"$HOME_DIR/log/people" 2>&1 || true
    grep -qx "all is there" "$HOME_DIR/log/people" || die "the lab has no users; see $HOME_DIR/log/people"
    install -m 600 "$HOME_DIR/run/worker-token" "$HOME_DIR/worker/token"
    rm -f "$HOME_DIR/run/people.py" "$HOME_DIR/run/worker-token"
}

# The package that holds the kernel of Debian's for virtual machines; nothing where apt knows of none.
cloud_kernel() {
    { apt-cache depends linux-image-cloud-amd64 2>/dev/null || true; } |
        awk '/Depends: linux-image-/ && !found { found = $NF } END { print found }'
}

# A kernel that boots in QEMU, and the smallest root in which LAVA's test shell runs. `try=` on the kernel's command line
# makes it fail: `panic` at once, `hang` before the prompt.
boot_files() {
    local boot=$HOME_DIR/boot package work
    [[ -s $boot/initramfs.cpio.gz ]] && return
    say "fetching a kernel"
    install -d -m 755 "$boot"
    work=$(mktemp -d)
    package=$(cloud_kernel)
    if [[ -z $package ]]; then
        # Images of containers come without apt's lists.
        apt-get update -q </dev/null >&2
        package=$(cloud_kernel)
    fi
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb unpacked) >&2 ||
        die "no kernel: apt-get can't fetch $package"
    cp "$work"/unpacked/boot/vmlinuz-* "$boot/vmlinuz"
    mkdir -p "$work"/root/{bin,sbin,usr/bin,usr/sbin,dev,etc,proc,root,run,sys,tmp,var}
    cp /bin/busybox "$work/root/bin/"
    printf 'root:x:0:0::/root:/bin/sh\n' >"$work/root/etc/passwd"
    cat >"$work/root/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s
mount -t devtmpfs none /dev
mkdir /dev/pts
mount -t devpts none /dev/pts
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /tmp
mount -t tmpfs none /run
case $(cat /proc/cmdline) in
*try=panic*) echo c >/proc/sysrq-trigger ;;
*try=hang*) while :; do sleep 100; done ;;
esac
export HOME=/root PATH=/sbin:/usr/sbin:/bin:/usr/bin TERM=vt100 PS1='kiln-dut:/# '
while :; do setsid cttyhack sh; done
EOF
    chmod 755 "$work/root/init"
    (cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -n) >"$boot/initramfs.new"
    mv "$boot/initramfs.new" "$boot/initramfs.cpio.gz"
    rm -rf "$work"
}

start_server() {
    launch web gunicorn3 lava_server.wsgi -u lavaserver -g lavaserver --worker-class eventlet --workers 2 --timeout 60 \
        --bind "127.0.0.1:$PORT" --log-level INFO --access-logfile "$HOME_DIR/log/server/access"
    launch events lava-server manage lava-publisher --level INFO --log-file "$HOME_DIR/log/server/events" \
        --host 127.0.0.1 --port "$EVENTS_PORT"
    launch scheduler lava-server manage lava-scheduler --level INFO --log-file "$HOME_DIR/log/server/scheduler" \
        --event-url "tcp://127.0.0.1:$BUS_PORT"
    until_so 90 "the web server" ask api/v0.2/system/version/
    until_so 30 "the line for events" curl -sS --noproxy '*' --max-time 5 -o /dev/null "http://127.0.0.1:$EVENTS_PORT/"
}

start_worker() {
    launch worker lava-worker --level INFO --name "$WORKER" --url "$URL" --ws-url "http://127.0.0.1:$EVENTS_PORT/ws/" \
        --worker-dir "$HOME_DIR/worker" --token-file "$HOME_DIR/worker/token" --ping-interval 5 --job-log-interval 1 \
        --log-file "$HOME_DIR/log/worker-itself"
    until_so 60 "the worker" worker_is Online
}

up() {
    ((EUID == 0)) || die "a LAVA lab can be brought up by root alone"
    packages
    install -d -m 755 "$HOME_DIR" "$HOME_DIR/log" "$HOME_DIR/pids" "$HOME_DIR/worker"
    install -d -m 755 -o lavaserver -g lavaserver "$HOME_DIR/run" "$HOME_DIR/log/server"
    install -d -m 700 "$HOME_DIR/tokens"
    exec 9>"$HOME_DIR/lock"
    flock -w 600 9 || die "another $0 is at work"
    [[ -s $HOME_DIR/database-password ]] || (umask 077 && secret >"$HOME_DIR/database-password")
    settings
    database
    schema
    # Somebody may be using the one that runs.
    runs web || people_and_things
    boot_files
    start_server
    start_worker
    local daemon
    for daemon in "${DAEMONS[@]}"; do runs "$daemon" || die "$daemon has ended; see $HOME_DIR/log/$daemon"; done
    if (($#)); then (umask 077 && facts >"$1"); fi
    facts
}

facts() {
    local user
    printf 'LAVA_URL=%s\nLAVA_EVENTS=%s\nLAVA_BOOT=%s\n' "$URL" "$EVENTS" "$HOME_DIR/boot"
    for user in "${USERS[@]}"; do printf 'LAVA_TOKEN_%s=%s\n' "${user^^}" "$(<"$HOME_DIR/tokens/$user")"; done
}

reset() {
    start_worker
    manage shell >"$HOME_DIR/log/reset" 2>&1 <<'EOF' || true
from django.contrib.auth.models import User
from lava_scheduler_app.models import TestJob

for job in TestJob.objects.exclude(state__in=[TestJob.STATE_CANCELING, TestJob.STATE_FINISHED]):
    job.cancel(User.objects.get(username="admin"))
print("all are cancelled")
EOF
    grep -qx "all are cancelled" "$HOME_DIR/log/reset" || die "jobs can't be cancelled; see $HOME_DIR/log/reset"
    until_so 60 "the end of all jobs" no_job_is_left
    people_and_things
}

no_job_is_left() {
    # 5 is Finished.
    [[ $(sql "SELECT count(*) FROM lava_scheduler_app_testjob WHERE state <> 5") == 0 ]]
}

# --- taking down -----------------------------------------------------------------------------------------------------

# Ends jobs that run: a job's process is meant to outlive its worker, which keeps a list of them.
stop_jobs() {
    local job pid start tries
    [[ -s $HOME_DIR/worker/db.sqlite3 ]] || return 0
    while read -r job pid; do
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "lava-run [job: $job]" || continue
        start=$(started "$pid")
        kill -TERM "$pid" 2>/dev/null || true
        for ((tries = 0; tries < 200; tries++)); do
            [[ $(started "$pid") == "$start" ]] || break
            sleep 0.1
        done
        if [[ $(started "$pid") == "$start" ]]; then kill -KILL -- "-$pid" 2>/dev/null || true; fi
    done < <(
        /usr/bin/python3 - "$HOME_DIR/worker/db.sqlite3" <<'EOF'
import sqlite3, sys
for job in sqlite3.connect(sys.argv[1]).execute("SELECT id, pid FROM jobs WHERE pid > 0 AND status < 2"):
    print(*job)
EOF
    )
}

stop_worker() {
    halt worker TERM
    # LAVA gives a worker a minute to ask for work again.
    until_so 180 "the lab's knowledge that the worker is gone" worker_is Offline
}

stop_server() {
    halt scheduler TERM
    halt web TERM
    halt events TERM
}

down() {
    [[ -d $HOME_DIR/pids ]] || return 0
    halt worker TERM
    stop_jobs
    stop_server
    halt database INT
}

purge() {
    down
    if [[ -d $HOME_DIR/pids ]]; then
        rm -rf "$HOME_DIR" /var/lib/lava-server/default/media/job-output/*
    fi
    local file
    for file in "$SETTINGS/00-database.yaml" "$SETTINGS/60-kiln.yaml"; do
        if [[ -e $file ]] && grep -qxF "$MINE" "$file"; then rm -f "$file"; fi
    done
}

# --- what tests change -----------------------------------------------------------------------------------------------

# The place of a word among others: how the database keeps it.
place_of() {
    local word=$1 place=0 other
    shift
    for other in "$@"; do
        [[ $other == "$word" ]] && { printf '%d' "$place" && return; }
        place=$((place + 1))
    done
    die "$word is none of: $*"
}

# Straight into the database: LAVA's own ways drag other changes along.
device() {
    local health state=
    health=$(place_of "$2" Good Unknown Looping Bad Maintenance Retired)
    if [[ -n ${3-} ]]; then state=", state = $(place_of "$3" Idle Reserved Running)"; fi
    [[ $1 =~ ^[a-z0-9-]+$ ]] || die "$1 is no name"
    sql "UPDATE lava_scheduler_app_device SET health = $health$state WHERE hostname = '$1'"
}

worker() {
    local health state=
    health=$(place_of "$2" Active Maintenance Retired)
    if [[ -n ${3-} ]]; then state=", state = $(place_of "$3" Online Offline)"; fi
    [[ $1 =~ ^[a-z0-9-]+$ ]] || die "$1 is no name"
    sql "UPDATE lava_scheduler_app_worker SET health = $health$state WHERE hostname = '$1'"
}

jobs_of() {
    local named=
    [[ "$1${2-}" =~ ^[A-Za-z0-9:._/-]+$ ]] || die "$* is no name"
    if [[ -n ${2-} ]]; then named="AND description = '$2'"; fi
    sql "SELECT count(*) FROM lava_scheduler_app_testjob AS job JOIN auth_user AS who ON who.id = job.submitter_id
         WHERE who.username = '$1' $named"
}

case ${1-} in
up) up "${@:2}" ;;
down) down ;;
purge) purge ;;
stop-server) stop_server ;;
start-server) start_server ;;
stop-worker) stop_worker ;;
start-worker) start_worker ;;
device) device "${@:2}" ;;
worker) worker "${@:2}" ;;
reset) reset ;;
jobs) jobs_of "${@:2}" ;;
*) die "usage: $0 up [FILE] | down | purge | stop-server | start-server | stop-worker | start-worker | reset | device NAME HEALTH [STATE] | worker NAME HEALTH [STATE] | jobs USER [NAME]" ;;
esac
