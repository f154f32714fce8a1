#!/bin/sh
# Makes the users when the broker's storage is made, then starts the broker.
#
# CREDENTIALS    folder of what `stoploss credentials` made
# CONFIGURATION  folder for files that hold the administrator's password; in memory, gone with the container
# CLUSTER_ID, KAFKA_LISTENERS, KAFKA_ADVERTISED_LISTENERS, KAFKA_CONTROLLER_QUORUM_VOTERS, KAFKA_LOG_DIRS
#                as in docker-compose.yml
set -eu
umask 077
PATH="$PATH:/opt/kafka/bin"
here=$(dirname "$0")
modules=org.apache.kafka.common.security
password=$(cat "$CREDENTIALS/admin.password")
admin="username=\"admin\" password=\"$password\""

{
    cat "$here/server.properties"
    cat <<END
listeners=$KAFKA_LISTENERS
advertised.listeners=$KAFKA_ADVERTISED_LISTENERS
controller.quorum.voters=$KAFKA_CONTROLLER_QUORUM_VOTERS
log.dirs=$KAFKA_LOG_DIRS
ssl.keystore.location=$CREDENTIALS/broker.pem
ssl.truststore.location=$CREDENTIALS/ca.pem
listener.name.internal.scram-sha-512.sasl.jaas.config=$modules.scram.ScramLoginModule required $admin;
listener.name.controller.plain.sasl.jaas.config=$modules.plain.PlainLoginModule required $admin user_admin="$password";
END
} > "$CONFIGURATION/server.properties"

# For the health check, and for whoever administers the broker from inside its container.
cat > "$CONFIGURATION/client.properties" <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$CREDENTIALS/ca.pem
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=$modules.scram.ScramLoginModule required $admin;
END

# One argument a line, in a file: what stands on a command line is in the list of processes, for everybody to read.
{
    printf '%s\n' format --ignore-formatted --cluster-id "$CLUSTER_ID" --config "$CONFIGURATION/server.properties"
    for file in "$CREDENTIALS"/*.password; do
        printf '%s\n' --add-scram "SCRAM-SHA-512=[name=$(basename "$file" .password),password=$(cat "$file")]"
    done
} > "$CONFIGURATION/format"
# What it says of the users would be in the log: salts and keys that passwords are checked with.
kafka-storage.sh "@$CONFIGURATION/format" > /dev/null
rm "$CONFIGURATION/format"

exec kafka-server-start.sh "$CONFIGURATION/server.properties"
