// Runs once, when the data folder of the mongodb service is empty (docker-entrypoint-initdb.d).
// Two users, both in krakendb, which is their authentication source as well: the restore connects as the read-only
// one, so that "no database writes" is enforced by the server and does not rest on our code.
"use strict";

const DATABASE = "krakendb";

/** Value of an environment variable; a user without a password must stop the start, not be created. */
function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`mongo-init.js: ${name} is not set, see .env.example`);
  }
  return value;
}

const users = [
  { user: required("MONGO_USER"), pwd: required("MONGO_PASSWORD"), role: "read" },
  { user: required("MONGO_RW_USER"), pwd: required("MONGO_RW_PASSWORD"), role: "readWrite" },
];

const kraken = db.getSiblingDB(DATABASE);
for (const { user, pwd, role } of users) {
  kraken.createUser({ user, pwd, roles: [{ role, db: DATABASE }] });
  print(`mongo-init.js: created ${user} with role ${role} on ${DATABASE}`);
}
