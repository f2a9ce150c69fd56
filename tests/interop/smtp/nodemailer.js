// Sends one mail with nodemailer as the JSON of its argument says.
const fs = require("fs");
const nodemailer = require("nodemailer");

const say = JSON.parse(process.argv[2]);
const tls = { ca: fs.readFileSync(say.ca) };
if (say.certificate) {
  tls.cert = fs.readFileSync(`${say.certs}/client.pem`);
  tls.key = fs.readFileSync(`${say.certs}/client.key.pem`);
}
const auth = say.auth === "XOAUTH2"
  ? { type: "OAuth2", user: say.user, accessToken: say.token }
  : { user: say.user, pass: say.password };
const transport = nodemailer.createTransport({
  host: "localhost",
  port: say.port,
  secure: say.tls === "implicit",
  requireTLS: say.tls === "starttls",
  ignoreTLS: say.tls === null,
  tls,
  ...(say.auth ? { auth, authMethod: say.auth } : {}),
});
transport
  .sendMail({
    envelope: { from: say.from, to: say.to },
    from: say.from,
    to: say.to,
    subject: say.subject,
    text: "The attachment is what becomes pages.",
    attachments: [{ path: say.path }],
    dsn: { id: say.envid, return: "headers", notify: ["success", "failure"], recipient: say.orcpt },
  })
  .then(() => transport.close())
  .catch((error) => {
    console.error(String(error));
    process.exitCode = 1;
  });
