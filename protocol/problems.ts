/**
 * Every failure once: what happened, what one named person can do about it, and how the two sides behave.
 * Codes are never renamed or reused. `retry` decides the agent's behaviour; nothing ever depends on the words.
 */
export type Retry = 'now' | 'next-check-in' | 'after-help' | 'never';

export interface ProblemKind {
  /** What happened, lower case, no full stop. */
  title: string;
  /** What somebody can do, and who. */
  fix: string;
  /** HTTP status where the backend answers with it. */
  status: number;
  /** Exit status of a command that ends with it: 64 usage, 69 server, 70 bug, 75 try later, 77 needs a person, 78 settings. */
  exit: 64 | 69 | 70 | 75 | 77 | 78;
  retry: Retry;
}

const kind = (title: string, fix: string, status: number, exit: ProblemKind['exit'], retry: Retry): ProblemKind => ({ title, fix, status, exit, retry });

export const problems = {
  // ——— the agent on its Mac
  NOT_ROOT: kind('this needs root', 'run it again with sudo', 403, 77, 'never'),
  ALREADY_RUNNING: kind('another run of the agent is under way', 'nothing: it finishes by itself; look with `sparekey status`', 409, 75, 'next-check-in'),
  JOB_NOT_LOADED: kind('the launchd job is not there to do the work', 'install the package again, or allow Sparekey in Login Items', 503, 77, 'after-help'),
  JOB_NO_ANSWER: kind('the job has not answered in time', 'look with `sparekey status`; the request stays in the queue', 504, 75, 'next-check-in'),
  REQUEST_INVALID: kind('a request in the queue cannot be read', 'nothing: it was set aside in the folder `failed`; ask again', 400, 64, 'never'),
  SETTINGS_MISSING: kind(
    'there are no managed settings for this Mac',
    'an MDM admin assigns the Sparekey settings profile to this Mac',
    500,
    78,
    'next-check-in',
  ),
  SETTINGS_INVALID: kind('the managed settings have mistakes', 'an MDM admin corrects the named settings in the profile', 500, 78, 'next-check-in'),
  SETTINGS_UNREADABLE: kind('the managed settings cannot be read', 'an MDM admin sends the settings profile again', 500, 78, 'next-check-in'),
  MACOS_UNEXPECTED: kind(
    'macOS answered with words that are not known',
    'send the output of `sparekey doctor --json` to whoever looks after Sparekey',
    500,
    77,
    'next-check-in',
  ),
  MACOS_SILENT: kind('a macOS command did not answer in time', 'nothing: it is tried again; if it stays, restart the Mac', 504, 75, 'next-check-in'),
  UNLOCK_REFUSED: kind(
    'macOS refused the credential used to replace the recovery key',
    'a FileVault user of this Mac runs `sudo sparekey adopt`',
    403,
    77,
    'after-help',
  ),
  KEY_NOT_ON_MAC: kind(
    'nothing on this Mac or at the backend can authorize a new recovery key',
    'a FileVault user of this Mac runs `sudo sparekey adopt`, or an admin imports the key',
    409,
    77,
    'after-help',
  ),
  CHANGE_FAILED: kind('macOS did not change the recovery key', 'nothing yet: the old key still opens this Mac; it is tried again', 500, 75, 'next-check-in'),
  CHANGE_STUCK: kind(
    'a change of the recovery key has been running for more than 30 minutes',
    'restart the Mac; the next run finds out which key is valid',
    504,
    77,
    'next-check-in',
  ),
  CHANGE_UNRESOLVED: kind(
    'it is not known yet which recovery key is valid',
    'nothing: the next runs ask macOS again; keep the Mac online',
    409,
    75,
    'next-check-in',
  ),
  KEY_EXHAUSTED: kind(
    'no known recovery key opens this Mac any more',
    'a FileVault user of this Mac runs `sudo sparekey adopt`, before that password is lost too',
    410,
    77,
    'after-help',
  ),
  // ——— a key that nobody has: what a user's password is asked for, and why it is not
  ADOPTION_NEEDED: kind(
    'nobody has a recovery key of this Mac, and a new one needs the password of a FileVault user',
    'a FileVault user of this Mac runs `sudo sparekey adopt`',
    409,
    77,
    'after-help',
  ),
  ADOPTION_NOT_NOW: kind(
    'the recovery key cannot be replaced now, so no password was asked for',
    'ask again when what is named here has passed',
    409,
    75,
    'next-check-in',
  ),
  ADOPTION_NOT_OURS: kind(
    'it is not for Sparekey to replace the recovery key of this Mac, so no password was asked for',
    'an MDM admin looks at escrow payload, `escrowOwner` and `rotator`: docs/settings.md says what belongs together',
    409,
    77,
    'after-help',
  ),
  FILEVAULT_OFF: kind('FileVault is off, so there is no recovery key to make', 'an MDM admin turns FileVault on by its profile', 409, 77, 'after-help'),
  FILEVAULT_WAITS_FOR_LOGOUT: kind(
    'FileVault is turned on when a user logs out, and that user has not',
    'the named user logs out and in again',
    409,
    77,
    'next-check-in',
  ),
  FILEVAULT_BUSY: kind('FileVault has not finished yet', 'nothing: leave the Mac on; it goes on by itself', 409, 75, 'next-check-in'),
  POWER_NEEDED: kind('this Mac waits for power', 'somebody connects this Mac to its charger', 409, 77, 'next-check-in'),
  USER_UNKNOWN: kind('this Mac has no such user', 'name a FileVault user of this Mac with --user; `sudo fdesetup list` shows them', 404, 64, 'never'),
  USER_WITHOUT_TOKEN: kind(
    'this user has no secure token, so the password opens nothing',
    'a user who has one adopts the key: `sudo sparekey adopt --user NAME`; `sudo fdesetup list` shows who',
    409,
    77,
    'after-help',
  ),
  NOBODY_HAS_TOKEN: kind(
    'no user of this Mac has a secure token',
    'an MDM admin has the MDM escrow a bootstrap token; then a user logs in once with the password',
    409,
    77,
    'after-help',
  ),
  ONLY_ADMIN_HAS_TOKEN: kind(
    "only the MDM's admin account has a secure token",
    'an admin who has the password of that account runs `sudo sparekey adopt --user NAME` with its name',
    409,
    77,
    'after-help',
  ),
  SMART_CARD_ONLY: kind(
    'this user signs in with a smart card and has no password that could be given',
    'another FileVault user of this Mac, with a password, runs `sudo sparekey adopt --user NAME`',
    409,
    77,
    'after-help',
  ),
  PASSWORD_NOT_GIVEN: kind('no password was given', 'nothing was changed; run `sudo sparekey adopt` again when the password is at hand', 400, 75, 'after-help'),
  PASSWORD_WRONG: kind(
    'macOS did not take the password',
    'run `sudo sparekey adopt` again with the password that unlocks this Mac when it starts',
    403,
    77,
    'after-help',
  ),
  PASSWORD_NOT_SYNCED: kind(
    'macOS did not take the password of a network account, whose password for FileVault may be an older one',
    'log out, log in once at the login window with the network there, then run `sudo sparekey adopt` again',
    403,
    77,
    'after-help',
  ),
  PASSWORD_TRIES_SPENT: kind(
    'macOS did not take three passwords, so none is asked for now',
    'find out which password unlocks this Mac when it starts, and run `sudo sparekey adopt` at the time named here',
    429,
    77,
    'after-help',
  ),
  NOBODY_LOGGED_IN: kind('nobody is logged in who could be asked for a password', 'a FileVault user logs in to this Mac', 409, 75, 'next-check-in'),
  JOURNAL_TOO_NEW: kind('the journal was written by a newer agent', 'install the newer package again; nothing was changed', 500, 77, 'after-help'),
  JOURNAL_UNREADABLE: kind('the journal cannot be read', 'nothing: it was set aside, and the agent finds out the state anew', 500, 75, 'now'),
  JOURNAL_NOT_OURS: kind(
    'the journal belongs to another user or can be changed by others',
    'an admin looks who changed the files in the state folder',
    500,
    77,
    'after-help',
  ),
  JOURNAL_NOT_WRITTEN: kind('the journal cannot be written', 'free disk space on this Mac; nothing was changed', 507, 75, 'next-check-in'),
  MOVED_FROM_OTHER_MAC: kind('the state here was made on another Mac', 'nothing: it was set aside and this Mac enrols anew', 409, 75, 'now'),
  KEYCHAIN_LOCKED: kind(
    'the System keychain cannot be opened',
    'nothing: the key is kept at the server instead; a restart usually mends the keychain',
    503,
    75,
    'next-check-in',
  ),
  ESCROW_FILE_UNREADABLE: kind("macOS's escrow file is not a complete envelope", 'nothing: it is read again at the next run', 422, 75, 'next-check-in'),
  ESCROW_FILE_REFUSED: kind(
    "macOS does not let the agent read macOS's own escrow file",
    'an MDM admin installs the profile `only-if-needed/privacy.mobileconfig`, and looks at `sudo sparekey doctor`',
    403,
    77,
    'next-check-in',
  ),
  ESCROW_FILE_FOREIGN: kind(
    "macOS's escrow file is sealed for somebody else",
    'an admin decides in the settings who owns escrow on this Mac',
    409,
    77,
    'after-help',
  ),
  IDENTITY_MISSING: kind('no device identity can be used on this Mac', 'an MDM admin assigns the identity profile to this Mac', 401, 77, 'next-check-in'),
  IDENTITY_NOT_USABLE: kind(
    'the device identity is there, but its key cannot be used',
    'an MDM admin sets AllowAllAppsAccess to true in the identity payload',
    401,
    77,
    'next-check-in',
  ),
  IDENTITY_FILE_INVALID: kind('the device identity file cannot be used', 'an MDM admin renews the file named in the settings', 401, 78, 'next-check-in'),
  NEEDS_NEWER_NODE: kind('this version of Node is too old', 'run it by the scripts in package.json, which bring Node 26', 500, 78, 'never'),
  // ——— between the two
  SERVER_UNREACHABLE: kind(
    'the backend cannot be reached',
    'nothing: it is tried again; if it stays, look at network, name and firewall',
    503,
    69,
    'next-check-in',
  ),
  SERVER_NOT_TRUSTED: kind(
    'the certificate of the backend is not trusted',
    'an MDM admin adds the CA of the backend to `trustedCertificates` in the settings',
    526,
    69,
    'next-check-in',
  ),
  TLS_INTERCEPTED: kind(
    'something between this Mac and the backend replaces its certificate',
    'a network admin exempts the host of the backend from TLS inspection',
    526,
    69,
    'next-check-in',
  ),
  CAPTIVE_PORTAL: kind(
    'a sign-in page of the network answered instead of the backend',
    'somebody signs in to the network on this Mac',
    511,
    69,
    'next-check-in',
  ),
  PROXY_REFUSED: kind('the proxy demands a sign-in', 'a network admin lets this host pass without sign-in', 407, 69, 'next-check-in'),
  PROXY_UNSUPPORTED: kind(
    'the proxy is chosen by a script (PAC), which the agent does not run',
    'an MDM admin sets `proxy` to a URL or to `none` in the settings',
    502,
    78,
    'next-check-in',
  ),
  REPLY_UNREADABLE: kind(
    'the backend answered with something that is not understood',
    'an operator compares the versions of agent and backend',
    502,
    69,
    'next-check-in',
  ),
  PROTOCOL_TOO_OLD: kind('this agent is too old for the backend', 'an admin installs the current package', 426, 69, 'after-help'),
  PROTOCOL_TOO_NEW: kind('this agent is newer than the backend', 'the operator upgrades the backend', 426, 69, 'next-check-in'),
  // ——— the backend to a Mac
  MESSAGE_INVALID: kind(
    'the message is not what this version of the protocol has',
    'nothing: it is not repeated; compare the versions of agent and backend',
    400,
    70,
    'never',
  ),
  BODY_TOO_LARGE: kind('the message is too large', 'nothing: it is not repeated', 413, 70, 'never'),
  REQUEST_TOO_SLOW: kind('the message did not arrive in time', 'nothing: it is tried again', 408, 75, 'next-check-in'),
  NOT_FOUND: kind('there is no such thing here', 'compare the name or the address with the list of what there is', 404, 64, 'never'),
  METHOD_NOT_ALLOWED: kind('this cannot be asked that way', 'look at docs/protocol.md', 405, 64, 'never'),
  TOO_MANY_REQUESTS: kind('too many requests from this Mac', 'nothing: it is tried again later', 429, 75, 'next-check-in'),
  CERTIFICATE_MISSING: kind('no client certificate was presented', 'the agent enrols first', 401, 77, 'now'),
  CERTIFICATE_UNKNOWN: kind(
    'the client certificate is of no CA that is known here',
    'the agent enrols again; an operator looks at the device CAs',
    401,
    77,
    'now',
  ),
  CERTIFICATE_EXPIRED: kind('the client certificate has expired', 'nothing: the agent renews it', 401, 77, 'now'),
  CERTIFICATE_REPLACED: kind('the client certificate was replaced by a newer one', 'nothing: the agent enrols again', 401, 77, 'now'),
  CERTIFICATE_REVOKED: kind('the client certificate was revoked', 'an MDM admin issues a new device identity', 403, 77, 'after-help'),
  ENROLMENT_REVOKED: kind(
    'the enrolment of this Mac was ended by an admin',
    'an admin looks why in the audit; the Mac may be enrolled anew',
    403,
    77,
    'after-help',
  ),
  IDENTITY_MOVED: kind('this identity belongs to other hardware', 'nothing: the agent sets it aside and enrols anew', 409, 77, 'now'),
  PROOF_REFUSED: kind(
    'the proof of identity was not accepted',
    'an MDM admin compares the identity profile with the device CAs of the backend',
    403,
    77,
    'after-help',
  ),
  NONCE_REFUSED: kind('the nonce is too old, or was used before', 'nothing: the agent asks for another', 409, 75, 'now'),
  STATEMENT_REFUSED: kind(
    'the enrolment statement is not the one the backend would have made',
    'an MDM admin compares `serverUrl` in the settings with the address of the backend',
    400,
    78,
    'after-help',
  ),
  CSR_REFUSED: kind('the certificate request was not accepted', 'nothing: the agent makes a new key', 400, 70, 'after-help'),
  TICKET_REFUSED: kind('the enrolment ticket was not accepted', 'an admin makes a new ticket, or adds this serial number to it', 403, 77, 'after-help'),
  KEY_ID_MISMATCH: kind('the envelope is not the one that its id names', 'nothing: it is not repeated', 400, 70, 'never'),
  FOREIGN_RECIPIENT: kind('the envelope is sealed for somebody else', 'nothing: the backend has noted whom it is for, and keeps no copy', 422, 77, 'never'),
  DELIVERY_QUARANTINED: kind(
    'the envelope was kept, but it counts for nothing until an admin has looked',
    'an admin looks at this Mac: sparekey-server status SERIAL',
    403,
    77,
    'after-help',
  ),
  DELIVERY_UNCONFIRMED: kind(
    'others brought this envelope for the serial number of this Mac, and nobody has confirmed that it is this Mac',
    'an admin runs `sparekey-server confirm` for it; the envelope stays on the Mac until then',
    403,
    77,
    'after-help',
  ),
  ROTATION_RING: kind(
    'no key is replaced now: this Mac is on its way to our escrow payload',
    'an MDM admin installs our escrow profile on it, or an operator runs `sparekey-server ring drop`',
    409,
    75,
    'next-check-in',
  ),
  ROTATION_BY_MDM: kind('the MDM has been asked to replace this key', 'nothing: the Mac answers the MDM, or waits a day', 409, 75, 'next-check-in'),
  ROTATION_WAIT: kind(
    'no key may be replaced now: somebody may be typing it',
    'nothing: the hold ends when that person is back in, or after its deadline',
    409,
    75,
    'next-check-in',
  ),
  ROTATION_OPEN: kind('another rotation of this Mac has not ended', 'nothing: it is resolved first', 409, 75, 'next-check-in'),
  ROTATION_LIMIT: kind('this Mac has begun as many rotations today as it may', 'nothing: it goes on tomorrow', 429, 75, 'next-check-in'),
  ROTATION_NOT_OWED: kind('this Mac owes no rotation', 'nothing: the key stays', 409, 75, 'next-check-in'),
  ROTATION_ALARM: kind('an alarm for this Mac stops rotations and grants', 'an admin judges the alarm', 409, 77, 'after-help'),
  RECIPIENT_NOT_ACCEPTED: kind(
    'the escrow certificate of the settings is not one of this backend',
    'an MDM admin compares `escrowCertificate` in the settings with the one of the backend',
    409,
    78,
    'after-help',
  ),
  GRANT_REFUSED: kind(
    'the backend does not give this Mac its key',
    'an admin looks why (sparekey-server status SERIAL): confirm the enrolment, or adopt the key',
    403,
    77,
    'after-help',
  ),
  GRANT_LIMIT: kind('this Mac was given its key for another reason today', 'nothing: it goes on tomorrow', 429, 75, 'next-check-in'),
  CANNOT_OPEN: kind('the backend cannot open envelopes now', 'an operator gives the backend its passphrase, or mends the opener', 503, 69, 'next-check-in'),
  STORE_FAILED: kind(
    'the backend could not store this',
    'an operator looks at disk space and database; nothing is lost, the Mac repeats it',
    503,
    69,
    'next-check-in',
  ),
  SERVER_STOPPING: kind('the backend is being restarted', 'nothing: it is tried again', 503, 69, 'next-check-in'),
  SERVER_BUG: kind('the backend met something unforeseen', 'an operator looks for the request id in the log', 500, 70, 'next-check-in'),
  AGENT_BUG: kind(
    'the agent met something unforeseen',
    'send the output of `sparekey doctor --json` to whoever looks after Sparekey',
    500,
    70,
    'next-check-in',
  ),
  // ——— the sites for people, whose pages say it in other words
  FORM_REFUSED: kind('the form is too old, or was not made here for this sign-in', 'open the page again; nothing was changed', 403, 77, 'never'),
  FORM_SPENT: kind('this form was sent before', 'look at the page for what has become of it; nothing was done twice', 409, 77, 'never'),
  ORIGIN_REFUSED: kind('another site asked for this', 'open the page here and do it there; nothing was changed', 403, 77, 'never'),
  SIGNED_OUT: kind('nobody is signed in', 'sign in', 401, 77, 'after-help'),
  VIEWS_LIMIT: kind(
    'keys were shown as often as the settings allow for now',
    'wait, or the service desk looks at the alarm VIEWS_UNUSUAL and helps in another way',
    429,
    75,
    'after-help',
  ),
  NOT_SHOWN: kind(
    'the recovery key of this Mac is not shown to this person',
    'look at the page of this Mac for the reason, and for whom to call',
    403,
    77,
    'never',
  ),
  REQUESTS_LIMIT: kind('so many requests for keys came from this person', 'call the service desk', 429, 75, 'after-help'),
  VIEW_ENDED: kind('the view that this goes on with is over', 'get the recovery key again', 409, 77, 'never'),
  // ——— the backend to its operator
  USAGE: kind('the command was not understood', 'look at `--help`', 400, 64, 'never'),
  RING_NOT_READY: kind(
    'no Mac of this ring can be moved yet',
    'look at `sparekey-server ring plan NAME`: it says what comes first for each Mac',
    409,
    77,
    'after-help',
  ),
  CENSUS_EMPTY: kind('there is no answer of any Mac', 'have the MDM run assess.sh on the Macs, and give `census` what it collected', 400, 77, 'never'),
  DATA_FOLDER_MISSING: kind(
    'there is no data folder of a backend here',
    'run `sparekey-server init` first, or name another folder with --dir',
    500,
    78,
    'never',
  ),
  ACCOUNT_EXISTS: kind('there is an account of that name already', 'an admin chooses another name, or runs `sparekey-server account reset`', 409, 64, 'never'),
  DATA_FOLDER_EXISTS: kind('there is a data folder of a backend here already', 'nothing was changed; choose another folder with --dir', 409, 78, 'never'),
  DATA_FOLDER_UNWRITABLE: kind(
    'the data folder of the backend cannot be written',
    'make room on its disk, or mount it writable and give it to the user that runs the backend; nothing was changed',
    500,
    78,
    'never',
  ),
  SERVER_SETTINGS_INVALID: kind('the settings of the backend have mistakes', 'correct the named settings', 500, 78, 'never'),
  PROFILE_SETTINGS_INVALID: kind('the settings for the profiles have mistakes', 'correct what is named (docs/operating.md, Profiles)', 500, 78, 'never'),
  PASSPHRASE_WRONG: kind('the passphrase does not open the escrow key', 'give the passphrase that was chosen at init', 403, 77, 'never'),
  PASSPHRASE_MISSING: kind('the passphrase of the escrow key is needed', 'give it at the prompt, by --passphrase-fd or by --passphrase-file', 400, 64, 'never'),
  FILE_TOO_OPEN: kind('a private file can be read by others', 'chmod 600 the named file', 500, 78, 'never'),
  MAC_UNKNOWN: kind('no Mac with this serial number is known here', 'look at `sparekey-server status`', 404, 64, 'never'),
  MAC_AMBIGUOUS: kind('more than one Mac has this serial number', 'name the Mac by its id, as `sparekey-server status` shows it', 409, 64, 'never'),
  KEY_UNKNOWN: kind('no key is held for this Mac', 'see with `sparekey-server status SERIAL` why', 404, 77, 'never'),
  REASON_MISSING: kind('a reason is needed: it goes into the audit', 'give --reason "…"', 400, 64, 'never'),
  OWN_REQUEST: kind('nobody decides on what they ask for themselves', 'somebody else decides', 403, 77, 'never'),
  EXPORT_INVALID: kind(
    'the export cannot be read',
    'export it as docs/coexistence.md says, or name its columns with --map; nothing was changed',
    422,
    64,
    'never',
  ),
  IMPORT_WITHDRAWN: kind(
    'this import was taken back while it was under way',
    'nothing: the rest of it was not taken; import the file again if that was a mistake',
    409,
    77,
    'never',
  ),
  ASSIGNMENTS_INVALID: kind('the list of assignments has mistakes', 'correct the named lines; nothing was changed', 422, 64, 'never'),
  AUDIT_BROKEN: kind('the audit chain is broken', 'stop, keep a copy of the data folder, and find out who changed the database', 500, 77, 'never'),
  ROW_TAMPERED: kind(
    'a stored key was changed behind the back of the backend',
    'keep a copy of the data folder and find out who changed the database',
    500,
    77,
    'never',
  ),
  BACKUP_INVALID: kind('the backup cannot be used', 'use another backup; nothing was changed', 422, 77, 'never'),
  LEAVING_UNWRITABLE: kind(
    'the folder that everything goes out into cannot be written',
    'make room on its disk, or make it writable, and run `sparekey-server leave` with the same folder again: it goes on where it was',
    500,
    77,
    'never',
  ),
  LEAVING_DAMAGED: kind(
    'the folder that everything went out into is not whole',
    'take another copy of it, or run `sparekey-server leave` into a new folder for as long as the backend is there',
    422,
    77,
    'never',
  ),
  DATABASE_TOO_NEW: kind(
    'the database was written by a newer backend',
    'install the newer backend again, or go back to the copy that is named here; nothing was changed',
    500,
    78,
    'never',
  ),
  WEBHOOK_REFUSED: kind(
    'the event is not signed with the key of the webhook',
    'an operator compares the key of the MDM’s webhook with the file that `coexistence.webhook.hmacKeyFile` names',
    403,
    77,
    'never',
  ),
  WEBHOOK_LATE: kind(
    'the event is older or newer than an event may be',
    'an operator compares the clocks; what the Mac said is asked for again',
    400,
    70,
    'never',
  ),
  CRYPT_REFUSED: kind(
    'the Crypt client has not shown that it may say this',
    'an operator compares `coexistence.crypt` with the certificate or the header of the client (docs/coexistence.md)',
    403,
    77,
    'after-help',
  ),
  CRYPT_INVALID: kind('what the Crypt client sent is not kept', 'an operator looks at the reason; the client comes again with it', 400, 70, 'never'),
  CRYPT_FULL: kind(
    'too many keys of unknown Macs wait here',
    'an operator looks at `sparekey-server brought --state waiting`, and at who sends them',
    429,
    75,
    'next-check-in',
  ),
  MDM_ROTATION_REFUSED: kind(
    'the key of this Mac is not replaced through the MDM',
    'look at the reason, and at `sparekey-server mdm devices`',
    409,
    77,
    'after-help',
  ),
  CONNECTOR_BUSY: kind('this connector is reading already', 'nothing: look at `sparekey-server connectors` in some minutes', 409, 75, 'next-check-in'),
  CONNECTOR_STOPPED: kind(
    'the connector did not come to its end; what it read is stored',
    'look at the reason, and at docs/coexistence.md (Connectors); it goes on by itself where time helps',
    502,
    77,
    'after-help',
  ),
  NEIGHBOUR_FAILED: kind(
    'another system that the backend asks did not answer as it should',
    'an operator looks at its address, its certificate and what it says there; nothing is lost, it is asked again',
    502,
    69,
    'next-check-in',
  ),
  CLIENT_HEADER_REFUSED: kind(
    'a header that says who a Mac is did not come as it may',
    'an operator compares `proxy` in the settings with what the proxy sends (docs/operating.md); nobody else may send it',
    403,
    78,
    'next-check-in',
  ),
  STILL_TRUSTED: kind(
    'Macs that were seen in the last 90 days would be cut off by this',
    'have the MDM give them the new settings or identity first; `--json` lists them',
    409,
    77,
    'after-help',
  ),
  UPGRADE_COPY_FAILED: kind(
    'the copy that is made before the database is changed could not be made',
    'make room on the disk of the data folder; nothing was changed',
    500,
    78,
    'never',
  ),
  BACKUP_FAILED: kind('the backup could not be written', 'make room where it goes, or make it writable; older backups are still there', 500, 77, 'never'),
  OFFLINE_COPY_MISSING: kind(
    'there is no offline copy of the escrow key, so that nothing would open this backup once the machine is gone',
    'put ESCROW.key.pem and ESCROW.certificate.pem of escrow/ into one file on a disk that is put away, then say so once with --offline-copy-exists; or back up without --encrypt-to escrow',
    409,
    77,
    'after-help',
  ),
  DISK_FULL: kind(
    'the disk of the backend is full',
    'make room on it; the service manager starts the backend again by itself, and nothing was changed',
    507,
    75,
    'after-help',
  ),
  BEING_SERVED: kind(
    'a backend runs with this data folder',
    'end it first (systemctl stop sparekey.socket sparekey.service), then run this again; nothing was changed',
    409,
    75,
    'after-help',
  ),
  PORT_IN_USE: kind('the port is in use', 'choose another port in the settings, or end the other program', 500, 78, 'never'),
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof problems;

/** A failure from the table. `detail` says what was found here; it never holds a secret or a body. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly detail: string | undefined;
  /** Seconds after which it may be tried again, where the other side said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ProblemCode, detail?: string, more: { retryAfterSeconds?: number; cause?: unknown } = {}) {
    super(detail ? `${problems[code].title}: ${detail}` : problems[code].title, more.cause === undefined ? {} : { cause: more.cause });
    this.name = 'Problem';
    this.code = code;
    this.detail = detail;
    this.retryAfterSeconds = more.retryAfterSeconds;
  }

  get kind(): ProblemKind {
    return problems[this.code];
  }
}

export const isProblemCode = (code: unknown): code is ProblemCode => typeof code === 'string' && Object.hasOwn(problems, code);
