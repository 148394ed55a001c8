//! Rules as tables: who may do what, and where.

use super::*;

fn command(line: &str) -> Command {
    Command::parse(line.as_bytes()).unwrap()
}

fn entries(texts: &[&str]) -> Vec<Entry> {
    texts.iter().map(|text| Entry::parse(text).unwrap()).collect()
}

fn rule(user: &str, allow: &[&str], deny: &[&str], paths: &[&str]) -> CommandRule {
    let patterns = || paths.iter().map(|path| PathPattern::new(path).unwrap()).collect();
    CommandRule {
        user: Some(vec![Glob::new(user).unwrap()]),
        allow: entries(allow),
        deny: entries(deny),
        paths: (!paths.is_empty()).then(patterns),
        ..CommandRule::default()
    }
}

#[track_caller]
fn table(rules: Vec<CommandRule>, cases: &[(&str, &str, Result<(), Refusal>)]) {
    let rules = CommandRules::new(rules);
    for (user, line, expected) in cases {
        let traveller =
            Traveller { user: user.as_bytes(), host: None, client: "192.0.2.1".parse().unwrap(), listener: "public" };
        let here = WorkingDirectory::told(b"\"/home\" is here");
        assert_eq!(rules.rights(&traveller).check(&command(line), &here), *expected, "{user}: {line}");
    }
}

const FINE: Result<(), Refusal> = Ok(());
const DENIED: Result<(), Refusal> = Err(Refusal::CommandDenied);
const VERB: Result<(), Refusal> = Err(Refusal::VerbDenied);
const PATH: Result<(), Refusal> = Err(Refusal::PathDenied);
const NAME: Result<(), Refusal> = Err(Refusal::NameDenied);
const UNKNOWN: Result<(), Refusal> = Err(Refusal::PathUnknown);

#[test]
fn the_contracts_example() {
    let rules = vec![rule("report-*", &["read"], &[], &[]), rule("*", &[], &["SITE EXEC", "SITE CPFR"], &[])];
    table(
        rules,
        &[
            ("report-1", "RETR x", FINE),
            ("report-1", "LIST -la", FINE),
            ("report-1", "STOR x", DENIED),
            ("report-1", "DELE x", DENIED),
            ("report-1", "RNFR x", DENIED),
            ("report-1", "SITE HELP", VERB),
            ("report-1", "MDTM 20200101000000 x", DENIED),
            ("report-1", "MDTM 20200101 x", DENIED),
            ("report-1", "MDTM 2xxxxxxxxxxxxx x", DENIED),
            ("report-1", "MDTM  20200101000000 x", DENIED),
            ("report-1", "MDTM x", FINE),
            ("report-1", "MDTM 2024 x.csv", FINE),
            ("report-1", "CWD /", FINE),
            ("report-1", "TYPE I", FINE),
            ("report-1", "REST 5", FINE),
            ("report-1", "XCRC x", VERB),
            ("anna", "STOR x", FINE),
            ("anna", "SITE CHMOD 644 x", FINE),
            ("anna", "site \t exec id", VERB),
            ("anna", "SITE \"CHMOD\" 640 x", VERB),
            ("anna", "SITE CHMOD\x0b640 x", VERB),
            ("anna", "XCRC x", VERB),
        ],
    );
}

#[test]
fn upload_only_and_download_only_are_one_line_each() {
    let rules = vec![rule("drop-*", &["write"], &[], &[]), rule("fetch-*", &["read"], &[], &[])];
    table(
        rules,
        &[
            ("drop-1", "STOR a", FINE),
            ("drop-1", "APPE a", FINE),
            ("drop-1", "STOU", FINE),
            ("drop-1", "MKD a", FINE),
            ("drop-1", "RETR a", DENIED),
            ("drop-1", "LIST", DENIED),
            ("drop-1", "DELE a", DENIED),
            ("fetch-1", "MLSD", FINE),
            ("fetch-1", "STOU", DENIED),
            ("fetch-1", "XMKD a", DENIED),
            ("anna", "DELE a", FINE),
        ],
    );
}

#[test]
fn the_first_rule_with_the_command_in_it_decides() {
    let rules = vec![
        rule("root", &["SITE EXEC", "XCRC"], &[], &[]),
        rule("*", &[], &["admin", "CWD"], &[]),
        rule("root", &["read", "write"], &["APPE"], &[]),
    ];
    table(
        rules,
        &[
            ("root", "SITE EXEC", FINE),
            ("root", "SITE CHMOD", VERB),
            ("root", "xcrc a", FINE),
            ("root", "XMD5 a", VERB),
            ("root", "STOR a", FINE),
            ("root", "APPE a", DENIED),
            ("root", "DELE a", DENIED),
            ("anna", "CWD /", VERB),
            ("anna", "DELE a", FINE),
            ("anna", "SITE", VERB),
        ],
    );
}

/// A word that servers may read as another one: what is denied may be in it, and what is allowed is not for sure.
#[test]
fn a_word_of_site_that_is_not_clear_is_refused_unless_all_of_site_is_allowed() {
    let rules = || {
        vec![
            rule("all", &["SITE"], &[], &[]),
            rule("some", &["SITE CHMOD"], &[], &[]),
            rule("but", &["SITE"], &["SITE EXEC"], &[]),
            rule("*", &[], &["SITE CHMOD"], &[]),
        ]
    };
    for word in
        ["\"CHMOD\" 640 x", "CHMOD\x0b640 x", "CHMOD\t640 x", " CHMOD 640 x", "C\\HMOD 640 x", "CHMOD\u{a0}640 x", ""]
    {
        let line = format!("SITE {word}");
        let cases = [("all", FINE), ("some", VERB), ("but", VERB), ("anna", VERB)];
        table(rules(), &cases.map(|(user, expected)| (user, line.as_str(), expected)));
    }
    table(
        rules(),
        &[
            ("some", "SITE CHMOD 640 x", FINE),
            ("but", "SITE chmod", FINE),
            ("anna", "SITE CHMOD", VERB),
            ("anna", "SITE CHMOD-X 1", FINE),
        ],
    );
    // Where no rule speaks of SITE, it is the server's.
    table(vec![rule("*", &[], &["delete"], &[])], &[("anna", "SITE \"CHMOD\" 640 x", FINE)]);
}

#[test]
fn paths_say_what_is_allowed_where() {
    let rules = vec![rule("*", &["write"], &[], &["/in/**"]), rule("*", &["read"], &[], &["/in/**", "/out/**"])];
    table(
        rules,
        &[
            ("a", "STOR /in/x", FINE),
            ("a", "STOR /out/../in/x", FINE),
            ("a", "STOR ../in/x", UNKNOWN),
            ("a", "STOR /in/\x01x", UNKNOWN),
            ("a", "STOR x", NAME),
            ("a", "STOR /in/../out/x", NAME),
            ("a", "RETR /out/x", FINE),
            ("a", "RETR /etc/passwd", PATH),
            ("a", "RETR /in/../../../out/./x", FINE),
            ("a", "LIST /in", FINE),
            ("a", "LIST -la /out/a /in/b", FINE),
            // Some servers list both.
            ("a", "LIST -la /out/a b", PATH),
            ("a", "LIST /out/a /", PATH),
            ("a", "LIST /out/a -R /in/b", PATH),
            ("a", "LIST /out/a ~", UNKNOWN),
            ("a", "LIST ~?", UNKNOWN),
            ("a", "LIST", PATH),
            ("a", "LIST -laR /out", FINE),
            ("a", "LIST -R /", PATH),
            ("a", "MKD /new", PATH),
            ("a", "DELE /in/x", DENIED),
            ("a", "RETR ~bob/x", UNKNOWN),
            ("a", "RETR {/etc/passwd,x}", UNKNOWN),
            ("a", "RETR /in/..\\out", UNKNOWN),
            ("a", "SITE CHMOD 1 /in/x", VERB),
            ("a", "CWD /etc", FINE),
        ],
    );
}

#[test]
fn going_somewhere_is_denied_for_the_place() {
    let rules = vec![rule("*", &[], &["CWD", "CDUP"], &["/private", "/private/**"])];
    table(rules, &[("a", "CWD /private", PATH), ("a", "CWD /private/x", PATH), ("a", "CWD /in", FINE)]);
}

#[test]
fn what_is_denied_by_path_is_denied_whatever_way_it_is_named() {
    let rules = vec![rule("*", &[], &["read", "rename", "delete", "SITE"], &["/secret/**"])];
    table(
        rules,
        &[
            ("a", "RETR /secret/x", PATH),
            ("a", "RETR ../secret/x", UNKNOWN),
            ("a", "RETR /pub/../secret/x", PATH),
            ("a", "RETR /secre\x01", UNKNOWN),
            ("a", "RETR  secret/x", UNKNOWN),
            ("a", "RETR //secret/./x", PATH),
            ("a", "LIST /secret", PATH),
            ("a", "LIST /sec*", PATH),
            ("a", "NLST *.csv", FINE),
            ("a", "LIST /{secret,x}", UNKNOWN),
            ("a", "LIST -R /", PATH),
            ("a", "LIST /", FINE),
            ("a", "RNFR /secret", PATH),
            ("a", "RNFR /pub", FINE),
            ("a", "RMD /secret/a", PATH),
            ("a", "STOR /secret/x", FINE),
            ("a", "SITE CHMOD 644 x", UNKNOWN),
            ("a", "RETR /secrets", FINE),
        ],
    );
}

/// A folder that is above what is denied takes it along, and shows it with everything below.
#[test]
fn what_is_denied_somewhere_below_is_not_moved_or_listed_with_what_is_above() {
    table(
        vec![rule("*", &[], &["read", "write", "delete", "rename"], &["/*/secret/**", "/**/keys/*"])],
        &[
            ("a", "RNFR /pub", PATH),
            ("a", "RNFR /pub/x", PATH),
            ("a", "RMD /pub", PATH),
            ("a", "LIST -R /pub", PATH),
            ("a", "LIST /pub/*", PATH),
            ("a", "RNTO /pub", NAME),
            ("a", "LIST /pub", FINE),
            ("a", "RETR /pub/x", FINE),
            ("a", "DELE /pub/x", FINE),
            ("a", "STOU /pub/x", FINE),
            ("a", "STOU /pub/keys/x", NAME),
        ],
    );
}

/// A pattern for some names is none for a name that is not known.
#[test]
fn what_has_no_name_yet_is_allowed_where_every_name_is() {
    let rules = vec![
        rule("a", &["write"], &[], &["/in/[!s]*", "/five/?????", "/all/*"]),
        rule("b", &["write"], &[], &["/all/*", "/home/*"]),
        rule("*", &["read"], &[], &["/in/*/*"]),
    ];
    table(
        rules,
        &[
            ("a", "STOR /in/x", FINE),
            ("a", "STOU /in/x", NAME),
            ("a", "STOU /five/x", NAME),
            ("a", "STOU /all/x", NAME),
            ("b", "STOU /all/x", FINE),
            ("a", "LIST /in/s*", PATH),
            ("a", "LIST /in/a/*", FINE),
            ("a", "LIST -R /in", PATH),
        ],
    );
}

/// A server that has no `ls` takes them for a name, and to ProFTPD and Pure-FTPd they end before the first byte that is no
/// letter and no digit: the name begins there.
#[test]
fn options_of_a_listing_lead_nowhere() {
    table(
        vec![rule("*", &["read"], &[], &["/home/**"])],
        &[
            ("a", "LIST -x/../../secret", UNKNOWN),
            ("a", "LIST -la /../home", UNKNOWN),
            ("a", "LIST  /../home", UNKNOWN),
            ("a", "LIST -la ../home", UNKNOWN),
            ("a", "LIST ..", UNKNOWN),
            ("a", "LIST .*", UNKNOWN),
            ("a", "LIST -la\x0b/home", UNKNOWN),
            ("a", "LIST -a..", UNKNOWN),
            ("a", "LIST -a.x", UNKNOWN),
            ("a", "LIST -a_x", UNKNOWN),
            ("a", "LIST -a*", UNKNOWN),
            ("a", "LIST -a -..", UNKNOWN),
            ("a", "LIST -a=..", UNKNOWN),
            ("a", "LIST --width=..", UNKNOWN),
            ("a", "LIST x -a..", UNKNOWN),
            ("a", "LIST -x\\..\\s", UNKNOWN),
            ("a", "STAT -a..", UNKNOWN),
            ("a", "NLST -a..", UNKNOWN),
            // To ProFTPD the second blank is the name's.
            ("a", "LIST -la  x", UNKNOWN),
            ("a", "LIST  x", UNKNOWN),
            ("a", "LIST -la", FINE),
            ("a", "LIST -la ", FINE),
            ("a", "LIST  -la", FINE),
            ("a", "LIST -l -a x", FINE),
            ("a", "LIST --all x", FINE),
            ("a", "LIST - x", FINE),
        ],
    );
}

/// Pure-FTPd takes away the first letter of the name behind them: `NLST -a x/secret` lists `/secret`. Where no name stands
/// behind them, it finds one in what is left of an earlier command.
#[test]
fn nlst_and_mlsd_have_no_options() {
    let rules = || vec![rule("*", &["read"], &[], &["/home/**"])];
    for verb in ["NLST", "MLSD"] {
        for name in ["x..", "x/secret", "x../y", "/home/x", "x", "-x"] {
            table(rules(), &[("a", &format!("{verb} -a {name}"), UNKNOWN)]);
        }
    }
    table(
        rules(),
        &[
            ("a", "NLST -la", UNKNOWN),
            ("a", "NLST  -la", UNKNOWN),
            ("a", "NLST x", FINE),
            ("a", "MLSD x", FINE),
            ("a", "MLSD -a", UNKNOWN),
            ("a", "MLST -a", FINE),
            ("a", "MLSD x -a", FINE),
        ],
    );
}

/// Pure-FTPd finds names by it, where none is called so, and lists what is in them.
#[test]
fn mlsd_has_a_pattern_as_any_listing() {
    let rules = vec![rule("*", &[], &["read"], &["/home/a/**"])];
    table(
        rules,
        &[
            ("a", "MLSD *", PATH),
            ("a", "MLSD ?", PATH),
            ("a", "MLSD b/*", FINE),
            ("a", "MLSD b", FINE),
            ("a", "MLSD [a]", UNKNOWN),
            ("a", "MLSD {a,b}", UNKNOWN),
        ],
    );
}

/// Each of them is a path to be judged.
#[test]
fn a_listing_of_very_many_words_is_not_known() {
    let words = |count| format!("LIST{}", " x".repeat(count));
    table(
        vec![rule("*", &["read"], &[], &["/home/**"])],
        &[("a", &words(16), FINE), ("a", &words(17), UNKNOWN), ("a", &words(2000), UNKNOWN)],
    );
}

/// ProFTPD and Pure-FTPd store in the working directory whatever the argument is, vsftpd and inetutils put a number behind it
/// as it stands, a slash at its end included, and pyftpdlib without it.
#[test]
fn what_the_server_names_is_stored_where_any_server_may_store_it() {
    let allowed = || vec![rule("*", &["write"], &[], &["/in/*", "/home/*", "/x.1"])];
    table(
        allowed(),
        &[
            ("a", "STOU", FINE),
            ("a", "STOU x", FINE),
            ("a", "STOU /in/x", FINE),
            ("a", "STOU /in/sub/", NAME),
            ("a", "STOU sub/", NAME),
            ("a", "STOU sub/.", NAME),
            ("a", "STOU .", UNKNOWN),
            ("a", "STOU ./", UNKNOWN),
            ("a", "STOU /x", NAME),
            ("a", "STOU ..", UNKNOWN),
        ],
    );
    table(vec![rule("*", &["write"], &[], &["/in/*"])], &[("a", "STOU /in/x", NAME), ("a", "STOR /in/x", FINE)]);
    table(vec![rule("*", &[], &["write"], &["/home/**"])], &[("a", "STOU /in/x", NAME), ("a", "STOR /in/x", FINE)]);
    table(
        vec![rule("*", &[], &["write"], &["/in/sub/**"])],
        &[("a", "STOU /in/sub/", NAME), ("a", "STOU /in/x", FINE)],
    );
}

/// A time that is none may be taken for one: vsftpd asks for a digit and for a blank behind eight or fourteen bytes.
#[test]
fn a_time_is_not_taken_for_the_way() {
    table(
        vec![rule("*", &["write"], &[], &["/home/**"])],
        &[
            ("a", "MFMT 20200101000000 x", FINE),
            ("a", "MFMT 20200101000000 /etc/x", PATH),
            ("a", "MFMT 2020 /etc/x", PATH),
            ("a", "MDTM 20200101000000 x", FINE),
            ("a", "MDTM 20200101000000 /etc/x", PATH),
            ("a", "MDTM 20200101 /etc/x", PATH),
            ("a", "MDTM 2xxxxxxxxxxxxx /etc/x", PATH),
            ("a", "MDTM 20200101000000.123 /etc/x", PATH),
            ("a", "MDTM 20200101000000+480 /etc/x", PATH),
            ("a", "MDTM 20200101  x", UNKNOWN),
        ],
    );
    table(
        vec![rule("*", &["read"], &[], &["/home/**"])],
        &[
            ("a", "MDTM x", FINE),
            ("a", "MDTM 2024 x.csv", FINE),
            ("a", "MDTM report 20200101 x", FINE),
            ("a", "MDTM 20200101 x", DENIED),
        ],
    );
    // To the servers that set no times with it, it is a name.
    table(
        vec![rule("*", &[], &["read"], &["/home/secret/**"])],
        &[
            ("a", "MDTM 20200101 /home/secret/x", PATH),
            ("a", "MDTM secret/20200101 x", PATH),
            ("a", "MDTM 20200101 x", FINE),
        ],
    );
    table(vec![rule("*", &[], &["read"], &["/home/2020*"])], &[("a", "MDTM 20200101000000 x", PATH)]);
}

#[test]
fn a_working_directory_that_is_not_known_is_refused_and_an_absolute_path_is_not() {
    let rules = CommandRules::new(vec![rule("*", &["read"], &[], &["/in/**"])]);
    let traveller = Traveller { user: b"a", host: None, client: "192.0.2.1".parse().unwrap(), listener: "x" };
    let rights = rules.rights(&traveller);
    assert!(rights.ask_for_paths());
    for reply in [&b"'USER1.' is the working directory"[..], b"\"C:\\\\home\"", b"\"relative\"", b"\"/open", b""] {
        let here = WorkingDirectory::told(reply);
        assert_eq!(rights.check(&command("RETR x"), &here), UNKNOWN);
        assert_eq!(rights.check(&command("LIST"), &here), UNKNOWN);
        assert_eq!(rights.check(&command("RETR /in/x"), &here), FINE);
        assert_eq!(rights.check(&command("TYPE I"), &here), FINE);
    }
}

#[test]
fn rules_speak_of_networks_and_listeners_too() {
    let mut only = rule("*", &["read"], &[], &[]);
    only.clients = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    only.listener = Some("public".into());
    let rules = CommandRules::new(vec![only]);
    let check = |client: &str, listener| {
        let traveller = Traveller { user: b"a", host: None, client: client.parse().unwrap(), listener };
        rules.rights(&traveller).check(&command("STOR x"), &WorkingDirectory::default())
    };
    assert_eq!(check("::ffff:10.1.1.1", "public"), DENIED);
    assert_eq!((check("192.0.2.1", "public"), check("10.1.1.1", "other")), (FINE, FINE));
}
